//! The attribute macros of shardwise: [`macro@main`] and [`macro@test`].
//!
//! They only rewrite: everything they do can be written by hand, with `Runtime::builder()` or `shardwise::test`, which is
//! what they expand to.

#![forbid(unsafe_code)]

mod test;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, FnArg, Ident, ItemFn, Path, Result, ReturnType, Token};

/// Runs an `async fn main` on every shard.
///
/// ```text
/// #[shardwise::main]
/// async fn main(shard: Shard) -> Result<()> {
///     App::new().get("/", async || "hello").serve("0.0.0.0:8080").await
/// }
/// ```
///
/// It is sugar for `Runtime::builder().run(async |shard| …)`. Arguments set up the builder, `name = value` each:
///
/// - `setup = path`: a function without arguments that runs once, before the shards start, and returns a `Result`. Every
///   shard's `main` gets a clone of its value as second argument.
/// - `shards = n`: how many; by default one for each CPU.
/// - `backend = "uring"`: which; by default the fastest that works.
/// - `admin = "127.0.0.1:9901"`: where `/metrics`, `/healthz` and `/readyz` are answered.
/// - `oversubscribe = true`: admits more shards than CPUs.
///
/// Without a subscriber for `tracing`, log lines go to standard error, from the level in `SHARDWISE_LOG` on.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    rewrite(arguments.into(), item.into()).unwrap_or_else(refuse).into()
}

/// Makes a function a test that runs once for each of several seeds.
///
/// ```text
/// #[shardwise::test(seeds = 20)]
/// fn nothing_is_lost(seed: u64) {
///     let server = test::builder().seed(seed).plan(Plan::CHOPPY).start(|_| app());
///     …
/// }
///
/// #[shardwise::test]
/// async fn sleeps_are_not_early(shard: Shard) {
///     …
/// }
/// ```
///
/// - `fn(seed: u64)` is given the seed, `fn(builder: shardwise::test::Builder)` a server's builder that has it.
/// - `async fn(shard: Shard)` runs as a task of a simulated shard, on virtual time.
/// - `fn()` runs once: it is Rust's own `#[test]`.
///
/// `seeds = n` says how many: 8 unless said. A failure names the seed and the command that runs it again.
/// `SHARDWISE_SEED=17` runs that one alone, `SHARDWISE_SEEDS=1000` so many, `SHARDWISE_SEEDS=500..1000` a range.
///
/// A function may return a `Result`, whose error fails it. `#[should_panic]` and `#[ignore]` mean what they always do.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    test::rewrite(arguments.into(), item.into()).unwrap_or_else(Error::into_compile_error).into()
}

fn rewrite(arguments: Tokens, item: Tokens) -> Result<Tokens> {
    expand(Options::parse.parse2(arguments)?, syn::parse2(item)?)
}

/// The error, and a `main`, so that the compiler does not add that there is none.
fn refuse(error: Error) -> Tokens {
    let error = error.into_compile_error();
    quote!(#error fn main() {})
}

/// What the attribute's arguments say.
#[derive(Default)]
struct Options {
    setup: Option<Path>,
    shards: Option<Expr>,
    backend: Option<Expr>,
    admin: Option<Expr>,
    oversubscribe: Option<Expr>,
}

/// One argument.
struct Argument {
    name: Ident,
    value: Expr,
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name: Ident = input.parse()?;
        input.parse::<Token![=]>().map_err(|_| Error::new(name.span(), format!("write `{name} = value`")))?;
        Ok(Argument { name, value: input.parse()? })
    }
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Options::default();
        for Argument { name, value } in Punctuated::<Argument, Token![,]>::parse_terminated(input)? {
            let is_given = match name.to_string().as_str() {
                "setup" => match value {
                    Expr::Path(path) => options.setup.replace(path.path).is_some(),
                    other => return Err(Error::new(other.span(), "`setup` names a function: `setup = load`")),
                },
                "shards" => options.shards.replace(value).is_some(),
                "backend" => options.backend.replace(value).is_some(),
                "admin" => options.admin.replace(value).is_some(),
                "oversubscribe" => options.oversubscribe.replace(value).is_some(),
                _ => {
                    let known = "setup, shards, backend, admin and oversubscribe";
                    return Err(Error::new(name.span(), format!("there is no argument `{name}`: there are {known}")));
                }
            };
            if is_given {
                return Err(Error::new(name.span(), format!("`{name}` is given twice")));
            }
        }
        Ok(options)
    }
}

fn expand(options: Options, main: ItemFn) -> Result<Tokens> {
    check(&options, &main)?;
    let Options { setup, shards, backend, admin, oversubscribe } = options;
    let ItemFn { attrs, vis, .. } = &main;
    let inner = {
        let mut inner = main.clone();
        inner.attrs.clear();
        inner.vis = syn::Visibility::Inherited;
        inner
    };
    let prepare = setup.as_ref().map(|setup| quote_spanned!(setup.span()=> let value = #setup()?;));
    let arguments = match (main.sig.inputs.len(), &setup) {
        (0, _) => quote!(),
        (1, _) => quote!(shard),
        _ => quote!(shard, ::core::clone::Clone::clone(&value)),
    };
    let shards = shards.map(|count| quote_spanned!(count.span()=> .shards(#count)));
    let oversubscribe = oversubscribe.map(|yes| quote_spanned!(yes.span()=> .oversubscribe(#yes)));
    let backend = backend.map(|name| {
        quote_spanned! {name.span()=>
            .backend(<::shardwise::Choice as ::core::str::FromStr>::from_str(#name).map_err(::shardwise::Error::new)?)
        }
    });
    let admin = admin.map(|address| {
        quote_spanned! {address.span()=>
            .admin(<::std::net::SocketAddr as ::core::str::FromStr>::from_str(#address)?)
        }
    });
    Ok(quote! {
        #(#attrs)*
        #vis fn main() -> ::std::process::ExitCode {
            #inner
            // A closure, since a further function would be in the way of one of that name outside.
            let start = || -> ::shardwise::Result<()> {
                ::shardwise::expanded::install_log();
                #prepare
                ::shardwise::Runtime::builder() #shards #oversubscribe #backend #admin
                    .run(async move |shard: ::shardwise::Shard| { let _ = &shard; main(#arguments).await })
            };
            ::shardwise::expanded::conclude(start())
        }
    })
}

/// What a `main` must be like.
fn check(options: &Options, main: &ItemFn) -> Result<()> {
    let signature = &main.sig;
    let wants = match options.setup {
        Some(_) => "async fn main(shard: Shard, value: T) -> Result<()>",
        None => "async fn main(shard: Shard) -> Result<()>",
    };
    let fail = |span: proc_macro2::Span, what: &str| Err(Error::new(span, format!("{what}: write `{wants}`")));
    if signature.ident != "main" {
        return fail(signature.ident.span(), "`#[shardwise::main]` goes on the function `main`");
    }
    if signature.asyncness.is_none() {
        return fail(signature.fn_token.span, "`main` must be async");
    }
    if !signature.generics.params.is_empty() {
        return fail(signature.generics.span(), "`main` cannot be generic");
    }
    if let ReturnType::Default = signature.output {
        return fail(signature.ident.span(), "`main` must return a `Result`");
    }
    if let Some(receiver) = signature.inputs.iter().find(|input| matches!(input, FnArg::Receiver(_))) {
        return fail(receiver.span(), "`main` is not a method");
    }
    let most = if options.setup.is_some() { 2 } else { 1 };
    match signature.inputs.iter().nth(most) {
        Some(surplus) if options.setup.is_none() => {
            fail(surplus.span(), "`main` takes the shard, and a second argument only with `setup = …`")
        }
        Some(surplus) => fail(surplus.span(), "`main` takes the shard and what `setup` returns"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
