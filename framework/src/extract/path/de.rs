//! Reads path parameters into a value: a deserializer over a short list of named texts.
//!
//! Its one distinction: an error in a value is the client's, an error in the shape (how many, by which names) is ours.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::request::Request;

/// All parameters of a request.
pub(super) struct Parameters<'r> {
    request: &'r Request,
    next: usize,
}

/// One of them, as it was sent.
#[derive(Clone, Copy)]
struct Value<'r> {
    name: &'r str,
    sent: &'r str,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// A value is not what the handler expects.
    Value(String),
    /// The handler expects other parameters than the route has.
    Shape(String),
}

impl<'r> Parameters<'r> {
    pub(super) fn new(request: &'r Request) -> Self {
        Parameters { request, next: 0 }
    }

    fn count(&self) -> usize {
        self.request.parameters().len()
    }

    fn take(&mut self) -> Option<Value<'r>> {
        let (name, sent) = self.request.parameters().nth(self.next)?;
        self.next += 1;
        Some(Value { name, sent })
    }

    /// The only parameter.
    fn single(&mut self) -> Result<Value<'r>, Error> {
        match self.count() {
            1 => Ok(self.take().expect("there is one")),
            count => Err(Error::Shape(format!("the handler takes one path parameter, and the route has {count}"))),
        }
    }
}

/// Scalars: what the only parameter says.
macro_rules! single {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'r>>(mut self, visitor: V) -> Result<V::Value, Error> {
            self.single()?.$method(visitor)
        })*
    };
}

impl<'r> Deserializer<'r> for Parameters<'r> {
    type Error = Error;

    single! {
        deserialize_bool deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_option deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'r>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.count() {
            1 => self.deserialize_str(visitor),
            _ => self.deserialize_map(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'r>>(
        mut self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.single()?.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'r>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit<V: Visitor<'r>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'r>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'r>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_seq<V: Visitor<'r>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(self)
    }

    fn deserialize_tuple<V: Visitor<'r>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        let count = self.count();
        if count != len {
            return Err(Error::Shape(format!("the handler takes {len} path parameters, and the route has {count}")));
        }
        visitor.visit_seq(self)
    }

    fn deserialize_tuple_struct<V: Visitor<'r>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'r>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(self)
    }

    fn deserialize_struct<V: Visitor<'r>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(self)
    }
}

impl<'r> SeqAccess<'r> for Parameters<'r> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'r>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.take().map(|value| seed.deserialize(value)).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.count() - self.next)
    }
}

impl<'r> MapAccess<'r> for Parameters<'r> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'r>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let name = self.request.parameters().nth(self.next).map(|(name, _)| name);
        name.map(|name| seed.deserialize(name.into_deserializer())).transpose()
    }

    fn next_value_seed<T: DeserializeSeed<'r>>(&mut self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.take().expect("serde asks for a value after its key"))
    }
}

impl<'r> Value<'r> {
    fn text(self) -> Result<Cow<'r, str>, Error> {
        percent_decode_str(self.sent)
            .decode_utf8()
            .map_err(|_| self.refuse("UTF-8 once its percent-encoding is undone"))
    }

    fn parse<T: FromStr>(self) -> Result<T, Error> {
        self.text()?.parse().map_err(|_| self.refuse(std::any::type_name::<T>()))
    }

    fn refuse(self, expected: &str) -> Error {
        let Value { name, sent } = self;
        Error::Value(format!("`{sent}`, the path's `{name}`, is not of the kind {expected}"))
    }

    /// Says which parameter an error of a visitor is about.
    fn visited<T>(self, visited: Result<T, Error>) -> Result<T, Error> {
        visited.map_err(|error| match error {
            Error::Value(what) => {
                let Value { name, sent } = self;
                Error::Value(format!("`{sent}`, the path's `{name}`, is not acceptable: {what}"))
            }
            shape => shape,
        })
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident)*) => {
        $(fn $method<V: Visitor<'r>>(self, visitor: V) -> Result<V::Value, Error> {
            let value = self.parse()?;
            self.visited(visitor.$visit(value))
        })*
    };
}

impl<'r> Deserializer<'r> for Value<'r> {
    type Error = Error;

    parsed! {
        deserialize_bool visit_bool deserialize_char visit_char
        deserialize_i8 visit_i8 deserialize_i16 visit_i16 deserialize_i32 visit_i32 deserialize_i64 visit_i64
        deserialize_u8 visit_u8 deserialize_u16 visit_u16 deserialize_u32 visit_u32 deserialize_u64 visit_u64
        deserialize_i128 visit_i128 deserialize_u128 visit_u128 deserialize_f32 visit_f32 deserialize_f64 visit_f64
    }

    fn deserialize_any<V: Visitor<'r>>(self, visitor: V) -> Result<V::Value, Error> {
        let visited = match self.text()? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        };
        self.visited(visited)
    }

    fn deserialize_option<V: Visitor<'r>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'r>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'r>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.visited(visitor.visit_enum(self))
    }

    forward_to_deserialize_any! {
        <V: Visitor<'r>>
        str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// An enum whose variants have no fields: the text is the variant's name.
impl<'r> EnumAccess<'r> for Value<'r> {
    type Error = Error;
    type Variant = Unit;

    fn variant_seed<V: DeserializeSeed<'r>>(self, seed: V) -> Result<(V::Value, Unit), Error> {
        let text = self.text()?;
        let variant: Result<_, Error> = seed.deserialize(text.as_ref().into_deserializer());
        Ok((variant?, Unit))
    }
}

struct Unit;

impl<'r> VariantAccess<'r> for Unit {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'r>>(self, _: T) -> Result<T::Value, Error> {
        Err(only_unit())
    }

    fn tuple_variant<V: Visitor<'r>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(only_unit())
    }

    fn struct_variant<V: Visitor<'r>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Error> {
        Err(only_unit())
    }
}

fn only_unit() -> Error {
    Error::Shape("a path parameter cannot be an enum's variant with fields".to_owned())
}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Error::Value(what.to_string())
    }

    fn invalid_length(count: usize, expected: &dyn serde::de::Expected) -> Self {
        Error::Shape(format!("the route has {count} path parameters, and the handler takes {expected}"))
    }

    fn invalid_type(unexpected: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Error::Shape(format!("the handler takes {expected} where the route gives {unexpected}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Error::Shape(format!("the handler takes a path parameter `{field}`, which the route does not name"))
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Error::Shape(format!("the route names a path parameter `{field}`, which the handler does not take"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Error::Value(format!("`{variant}` is none of {}", expected.join(", ")))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Error::Value(what) | Error::Shape(what)) = self;
        f.write_str(what)
    }
}

impl std::error::Error for Error {}
