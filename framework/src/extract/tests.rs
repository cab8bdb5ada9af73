//! What extractors make of requests, and with what words they refuse them.

use std::collections::BTreeMap;

use crate::testing::check;
use crate::{App, Body, Bytes, Form, Json, Path, Query, Rejection, Request, Shard, State};
use http::{HeaderMap, Method, Uri};
use serde::Deserialize;

/// As [`check`], for answers that are text, without saying so each time.
macro_rules! check_text {
    ($app:expr, $($request:literal => $text:literal),* $(,)?) => {
        check($app, &[$(($request, concat!("200\ncontent-type: text/plain; charset=utf-8\n\n", $text))),*])
    };
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Color {
    Red,
    Green,
}

#[derive(Debug, Deserialize)]
struct Item {
    user: String,
    id: u64,
}

#[derive(Debug, Deserialize)]
struct Id(u8);

#[test]
fn path_parameters_become_values() {
    fn app() -> App {
        App::new()
            .get("/text/{text}", |Path(text): Path<String>| text)
            .get("/number/{n}", |Path(n): Path<i16>| n.to_string())
            .get("/newtype/{n}", |Path(Id(n)): Path<Id>| n.to_string())
            .get("/option/{n}", |Path(n): Path<Option<bool>>| format!("{n:?}"))
            .get("/color/{color}", |Path(color): Path<Color>| format!("{color:?}"))
            .get("/pair/{a}/{b}", |Path((a, b)): Path<(char, f32)>| format!("{a} {b}"))
            .get("/struct/{user}/{id}", |Path(item): Path<Item>| format!("{} {}", item.user, item.id))
            .get("/map/{a}/{b}", |Path(map): Path<BTreeMap<String, String>>| format!("{map:?}"))
            .get("/list/{a}/{b}", |Path(list): Path<Vec<u8>>| format!("{list:?}"))
            .get("/rest/{*rest}", |Path(rest): Path<String>| rest)
    }
    check_text!(
        app,
        "GET /text/a%20b%2Fc" => "a b/c",
        "GET /text/gr%C3%BC%C3%9Fe" => "grüße",
        "GET /number/-7" => "-7",
        "GET /newtype/7" => "7",
        "GET /option/true" => "Some(true)",
        "GET /color/red" => "Red",
        "GET /color/gr%65en" => "Green",
        "GET /pair/x/1.5" => "x 1.5",
        "GET /struct/ada/7" => "ada 7",
        "GET /map/x/y" => r#"{"a": "x", "b": "y"}"#,
        "GET /list/1/2" => "[1, 2]",
        "GET /rest/a/b%20c" => "a/b c",
    );
}

#[test]
fn a_path_that_does_not_fit_is_refused_in_words() {
    fn app() -> App {
        App::new()
            .get("/number/{n}", |Path(n): Path<u8>| n.to_string())
            .get("/color/{color}", |Path(color): Path<Color>| format!("{color:?}"))
            .get("/one/{a}/{b}", |Path(n): Path<u8>| n.to_string())
            .get("/three/{a}/{b}", |Path((a, b, c)): Path<(u8, u8, u8)>| format!("{a}{b}{c}"))
            .get("/struct/{user}/{name}", |Path(item): Path<Item>| format!("{item:?}"))
    }
    check(
        app,
        &[
            (
                "GET /number/256",
                "400\ncontent-type: text/plain; charset=utf-8\n\nBad Request at GET /number/{n}: `256`, the path's `n`, is \
                 not of the kind u8. Use a path whose parameters are of the expected kind.\n",
            ),
            (
                "GET /number/%FF",
                "400\ncontent-type: text/plain; charset=utf-8\n\nBad Request at GET /number/{n}: `%FF`, the path's `n`, is \
                 not of the kind UTF-8 once its percent-encoding is undone. Use a path whose parameters are of the \
                 expected kind.\n",
            ),
            (
                "GET /color/blue",
                "400\ncontent-type: text/plain; charset=utf-8\n\nBad Request at GET /color/{color}: `blue`, the path's \
                 `color`, is not acceptable: `blue` is none of red, green. Use a path whose parameters are of the expected \
                 kind.\n",
            ),
            (
                "GET /one/1/2",
                "500\ncontent-type: text/plain; charset=utf-8\n\nInternal Server Error at GET /one/{a}/{b}: the handler \
                 takes one path parameter, and the route has 2. The handler's `Path` must take as many parameters as the \
                 route names.\n",
            ),
            (
                "GET /three/1/2",
                "500\ncontent-type: text/plain; charset=utf-8\n\nInternal Server Error at GET /three/{a}/{b}: the handler \
                 takes 3 path parameters, and the route has 2. The handler's `Path` must take as many parameters as the \
                 route names.\n",
            ),
            (
                "GET /struct/ada/7",
                "500\ncontent-type: text/plain; charset=utf-8\n\nInternal Server Error at GET /struct/{user}/{name}: the \
                 handler takes a path parameter `id`, which the route does not name. The handler's `Path` must take as many \
                 parameters as the route names.\n",
            ),
        ],
    );
}

#[derive(Debug, Deserialize)]
struct Page {
    #[serde(default)]
    offset: u32,
    #[serde(default)]
    tag: Vec<String>,
}

fn heads() -> App {
    App::new()
        .state("held")
        .get("/query", |Query(page): Query<Page>| format!("{} {:?}", page.offset, page.tag))
        .get("/pairs", |Query(pairs): Query<Vec<(String, String)>>| format!("{pairs:?}"))
        .get("/state", |State(text): State<&'static str>| text)
        .any("/method", |method: Method| method.to_string())
        .get("/uri", |uri: Uri| format!("{} {:?}", uri.path(), uri.query()))
        .get("/shard", |shard: Shard| format!("{} of {}", shard.number(), shard.count()))
        .get("/map", |map: HeaderMap| format!("{:?}", map.get_all("x-a").iter().collect::<Vec<_>>()))
        .get("/result", |query: Result<Query<Page>, Rejection>| match query {
            Ok(Query(page)) => page.offset.to_string(),
            Err(rejection) => format!("mended a {}", rejection.status().as_u16()),
        })
        .get("/request/{id}", async |request: Request| {
            format!("{} {:?} {}", request.route(), request.parameter("id"), request.path())
        })
}

#[test]
fn the_head_gives_its_parts() {
    check_text!(
        heads,
        "GET /query?offset=3&tag=a&tag=b+c" => r#"3 ["a", "b c"]"#,
        "GET /query" => "0 []",
        "GET /pairs?a=1&a=%32" => r#"[("a", "1"), ("a", "2")]"#,
        "GET /state" => "held",
        "BREW /method" => "BREW",
        "GET /uri?a=b" => r#"/uri Some("a=b")"#,
        "GET /shard" => "0 of 1",
        "GET /map\nX-A: 1\nx-a: 2" => r#"["1", "2"]"#,
        "GET /result?offset=5" => "5",
        "GET /result?offset=x" => "mended a 400",
        "GET /request/%41" => r#"/request/{id} Some("%41") /request/%41"#,
    );
}

fn bodies() -> App {
    App::new()
        .body_limit(16)
        .post("/bytes", async |body: Bytes| format!("{body:?}"))
        .post("/text", async |body: String| body)
        .post("/json", async |Json(list): Json<Vec<u8>>| format!("{list:?}"))
        .post("/raw", async |mut body: Body| {
            let mut sizes = Vec::new();
            while let Some(chunk) = body.chunk().await? {
                sizes.push(chunk.len());
            }
            Ok::<_, crate::Error>(format!("{sizes:?}"))
        })
        .post("/result", async |json: Result<Json<u8>, Rejection>| match json {
            Ok(Json(number)) => number.to_string(),
            Err(rejection) => rejection.to_string(),
        })
}

#[test]
fn bodies_become_values() {
    check_text!(
        bodies,
        "POST /bytes\n\nab" => r#"b"ab""#,
        "POST /bytes" => r#"b"""#,
        "POST /text\n\ngrüße" => "grüße",
        "POST /json\nContent-Type: application/json\n\n[1, 2]" => "[1, 2]",
        "POST /json\nContent-Type: application/vnd.it+JSON; a=b\n\n[1]" => "[1]",
        "POST /raw\n\nlonger than the limit of extractors" => "[17, 18]",
        "POST /result\n\n1" => "Unsupported Media Type at POST /result: the content type of the body is missing. Send JSON, with `Content-Type: application/json`.",
    );
}

#[test]
fn bodies_that_do_not_fit_are_refused_in_words() {
    check(
        bodies,
        &[
            (
                "POST /text\n\n12345678901234567",
                "413\ncontent-type: text/plain; charset=utf-8\n\nPayload Too Large at POST /text: the body is longer than \
                 the 16 bytes admitted here.\n",
            ),
            (
                "POST /json\nContent-Type: text/plain\n\n[1]",
                "415\ncontent-type: text/plain; charset=utf-8\n\nUnsupported Media Type at POST /json: the content type of \
                 the body is `text/plain`. Send JSON, with `Content-Type: application/json`.\n",
            ),
            (
                "POST /json\nContent-Type: application/json\n\n[1,",
                "400\ncontent-type: text/plain; charset=utf-8\n\nBad Request at POST /json: the body is not JSON: EOF while \
                 parsing a value at line 1 column 3. Send one whole JSON document.\n",
            ),
            (
                "POST /json\nContent-Type: application/json\n\n[256]",
                "400\ncontent-type: text/plain; charset=utf-8\n\nBad Request at POST /json: the JSON in the body does not \
                 fit: invalid value: integer `256`, expected u8 at line 1 column 4. Send what it asks for.\n",
            ),
        ],
    );
}

/// A large body that came in one piece stays where it was received; a small one does not keep a receive buffer from its use.
#[test]
fn bytes_are_shared_if_they_are_large() {
    let app = App::new().post("/", async |shard: Shard, body: Bytes| {
        format!("{} bytes, {} shared", body.len(), shard.pool().stats().shared)
    });
    let server = crate::test::run(app);
    for (bytes, answer) in [(0, "0 bytes, 0 shared"), (100, "100 bytes, 0 shared"), (3000, "3000 bytes, 1 shared")] {
        assert_eq!(server.post("/", vec![1; bytes]).text(), answer);
    }
    // In several pieces: gathered into memory of its own.
    assert_eq!(server.post("/", vec![1; 300_000]).text(), "300000 bytes, 0 shared");
}

/// A body goes to another shard and back, and is the answer: whatever the network cuts it into, and whichever shard's memory it
/// lies in. The server is looked at for leaks when it has ended.
#[test]
fn bytes_go_through_other_shards() {
    let around = async |shard: Shard, body: Bytes| -> crate::Result<Bytes> {
        let peer = (shard.number() + 1) % shard.count();
        let back = shard.on(peer, move |there| (there.number(), body)).await?;
        assert_eq!(back.0, peer);
        Ok(back.1)
    };
    for seed in crate::test::seeds(20) {
        let server = crate::test::builder().seed(seed).shards(3).plan(crate::test::Plan::CHOPPY);
        let server = server.start(move |_| App::new().post("/around", around));
        for bytes in [0, 1, 1000, 1100, 2500, 3500, 20_000] {
            let body: Vec<u8> = (0..bytes).map(|index| index as u8).collect();
            assert!(server.post("/around", body.clone()).bytes() == body, "seed {seed}, {bytes} bytes");
        }
        server.end();
    }
}

fn forms() -> App {
    #[derive(Debug, Deserialize)]
    struct Order {
        count: u8,
        #[serde(default)]
        tag: Vec<String>,
    }

    App::new()
        .body_limit(64)
        .post("/", async |Form(order): Form<Order>| format!("{} {:?}", order.count, order.tag))
        .post("/maybe", async |order: Option<Form<Order>>| format!("{}", order.is_some()))
        .post("/state", async |count: Option<Query<Vec<(String, u8)>>>, text: Option<String>| {
            format!("{count:?} {text:?}")
        })
}

#[test]
fn forms_become_values() {
    check_text!(
        forms,
        "POST /\nContent-Type: application/x-www-form-urlencoded\n\ncount=3&tag=a+b&tag=%C3%BC" => r#"3 ["a b", "ü"]"#,
        "POST /\nContent-Type: Application/X-WWW-Form-Urlencoded; charset=utf-8\n\ncount=3" => "3 []",
        "POST /maybe\nContent-Type: application/x-www-form-urlencoded\n\ncount=3" => "true",
        "POST /maybe\nContent-Type: application/x-www-form-urlencoded\n\ncount=many" => "false",
        "POST /maybe" => "false",
        "POST /state?a=1\n\nx" => r#"Some(Query([("a", 1)])) Some("x")"#,
        "POST /state?a=b" => r#"None Some("")"#,
    );
}

#[test]
fn forms_that_do_not_fit_are_refused_in_words() {
    check(
        forms,
        &[
            (
                "POST /\nContent-Type: text/plain\n\ncount=3",
                "415\ncontent-type: text/plain; charset=utf-8\n\nUnsupported Media Type at POST /: the content type of the \
                 body is `text/plain`. Send a form, with `Content-Type: application/x-www-form-urlencoded`.\n",
            ),
            (
                "POST /\nContent-Type: application/x-www-form-urlencoded\n\ncount=300",
                "400\ncontent-type: text/plain; charset=utf-8\n\nBad Request at POST /: the form in the body does not fit: \
                 number too large to fit in target type. Give each field as `name=value`, joined by `&`.\n",
            ),
            (
                "POST /\nContent-Type: application/x-www-form-urlencoded\n\n\
                 count=3&tag=0123456789012345678901234567890123456789012345678901234567890123",
                "413\ncontent-type: text/plain; charset=utf-8\n\nPayload Too Large at POST /: the body is longer than the \
                 64 bytes admitted here.\n",
            ),
        ],
    );
}
