//! What `#[shardwise::test]` makes of a function: Rust's own test, around a run for each seed.

use proc_macro2::TokenStream as Tokens;
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, FnArg, ItemFn, Result, Token};

use super::Argument;

/// Seeds of a test that does not say how many: few, since it runs at every `cargo test`.
const SEEDS: u64 = 8;

pub(super) fn rewrite(arguments: Tokens, item: Tokens) -> Result<Tokens> {
    expand(Options::parse.parse2(arguments)?, syn::parse2(item)?)
}

/// What the attribute's arguments say.
#[derive(Default)]
struct Options {
    seeds: Option<Expr>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Options::default();
        for Argument { name, value } in Punctuated::<Argument, Token![,]>::parse_terminated(input)? {
            if name != "seeds" {
                return Err(Error::new(name.span(), format!("there is no argument `{name}`: write `seeds = 20`")));
            }
            if options.seeds.replace(value).is_some() {
                return Err(Error::new(name.span(), "`seeds` is given twice"));
            }
        }
        Ok(options)
    }
}

fn expand(options: Options, test: ItemFn) -> Result<Tokens> {
    check(&options, &test)?;
    let ItemFn { attrs, vis, sig, .. } = &test;
    let (name, is_async) = (&sig.ident, sig.asyncness.is_some());
    let inner = {
        let mut inner = test.clone();
        inner.attrs.clear();
        inner.vis = syn::Visibility::Inherited;
        inner
    };
    let argument = sig.inputs.first().map(Spanned::span);
    if argument.is_none() && !is_async {
        // Rust's own, so that `use shardwise::test` does not change what `#[test]` means.
        return Ok(quote!(#[::core::prelude::v1::test] #test));
    }
    let run = match (argument, is_async) {
        (argument, true) => {
            let given = argument.map(|span| quote_spanned!(span=> shard));
            quote! {
                |seed: u64| ::shardwise::expanded::on_a_shard(
                    seed,
                    async move |shard: ::shardwise::Shard| { let _ = &shard; #name(#given).await },
                )
            }
        }
        (span, false) => {
            let given = quote_spanned!(span.unwrap_or(name.span())=> ::shardwise::test::FromSeed::from_seed(seed));
            quote!(|seed: u64| #name(#given))
        }
    };
    let seeds = options.seeds.map_or_else(|| quote!(#SEEDS), |seeds| quote!(#seeds));
    Ok(quote! {
        #[::core::prelude::v1::test]
        #(#attrs)*
        #vis fn #name() {
            #inner
            ::shardwise::expanded::run_seeds(#seeds, #run)
        }
    })
}

/// What a test must be like.
fn check(options: &Options, test: &ItemFn) -> Result<()> {
    let signature = &test.sig;
    let name = &signature.ident;
    let forms = format!("write `fn {name}(seed: u64)` or `async fn {name}(shard: Shard)`");
    let fail = |span: proc_macro2::Span, what: &str| Err(Error::new(span, format!("{what}: {forms}")));
    if !signature.generics.params.is_empty() {
        return fail(signature.generics.span(), "a test cannot be generic");
    }
    if let Some(receiver) = signature.inputs.iter().find(|input| matches!(input, FnArg::Receiver(_))) {
        return fail(receiver.span(), "a test is not a method");
    }
    if let Some(surplus) = signature.inputs.iter().nth(1) {
        return fail(surplus.span(), "a test takes one argument");
    }
    match &options.seeds {
        Some(seeds) if signature.inputs.is_empty() && signature.asyncness.is_none() => {
            fail(seeds.span(), "a test that takes no seed runs the same each time")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
