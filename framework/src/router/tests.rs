//! Routers in routers: whose paths, layers, fallbacks and limits apply where, and which mistakes are said at the start.

use http::{HeaderValue, StatusCode};
use net::Response;

use super::*;
use crate::testing::{check, on_a_shard};
use crate::{App, Next, Path, Request};

const TEXT: &str = "content-type: text/plain; charset=utf-8";

/// Says by a header line that it was passed on the way out.
fn passed(name: &'static str) -> impl AsyncFn(Request, Next) -> Response + 'static {
    async move |request: Request, next: Next| {
        let mut response = next.run(request).await;
        response.headers.append("passed".parse().unwrap(), HeaderValue::from_static(name));
        response
    }
}

/// As [`check`], for answers in one line: status, layers passed, text.
#[track_caller]
fn check_short(app: fn() -> App, table: &'static [(&'static str, &'static str)]) {
    on_a_shard(async move |shard| {
        let service = app().build(&shard).expect("the routes fit together");
        for (request, expect) in table {
            let told = crate::testing::told(crate::testing::ask(&service, &shard, request).await).await;
            let lines = told.lines().filter(|line| !line.is_empty() && *line != TEXT);
            let words: Vec<_> = lines.map(|line| line.trim_start_matches("passed: ")).collect();
            assert_eq!(words.join(" "), *expect, "{request}");
        }
    });
}

fn tree() -> App {
    let items = Router::new()
        .layer(passed("items"))
        .get("/", || "all")
        .get("/{id}", |Path(id): Path<u8>| format!("item {id}"))
        .fallback(|request_path: http::Uri| format!("no item at {}", request_path.path()));
    let users = Router::new()
        .get("/name", async |Path(user): Path<String>| user)
        .fallback(async |request: Request| format!("not of {:?}", request.parameter("user")));
    let api = Router::new().layer(passed("api")).get("/version", || "1").nest("/items", items);
    App::new()
        .layer(passed("app"))
        .get("/", || "home")
        .nest("/api", api)
        .nest("/users/{user}", users.layer(passed("users")))
        .merge(Router::new().get("/merged", || "merged").layer(passed("merged")))
        .get("/api/plain", || "plain")
}

#[test]
fn routes_have_the_prefixes_and_the_layers_of_all_their_routers() {
    check_short(
        tree,
        &[
            ("GET /", "200 app home"),
            ("GET /api/version", "200 api app 1"),
            ("GET /api/items", "200 items api app all"),
            ("GET /api/items/7", "200 items api app item 7"),
            ("GET /users/ada/name", "200 users app ada"),
            ("GET /merged", "200 merged app merged"),
            // The same prefix by hand is no part of the nested router.
            ("GET /api/plain", "200 app plain"),
        ],
    );
}

#[test]
fn the_innermost_fallback_answers_within_its_layers() {
    check_short(
        tree,
        &[
            ("GET /api/items/7/8", "200 items api app no item at /api/items/7/8"),
            ("GET /api/items/", "200 items api app no item at /api/items/"),
            ("GET /users/ada", "200 users app not of Some(\"ada\")"),
            ("GET /users/ada/", "200 users app not of Some(\"ada\")"),
            ("GET /users/ada/x/y", "200 users app not of Some(\"ada\")"),
            ("GET /api/nothing", "404 app Not Found: nothing is served at /api/nothing."),
            ("GET /api/itemsandmore", "404 app Not Found: nothing is served at /api/itemsandmore."),
            ("OPTIONS *", "204"),
        ],
    );
}

#[test]
fn a_wrong_method_is_answered_by_the_router_of_the_path() {
    fn app() -> App {
        let own = Router::new().put("/", || "").layer(passed("own"));
        let own = own.method_fallback(async || {
            shards::yield_now().await;
            (StatusCode::METHOD_NOT_ALLOWED, [("allow", "mine")], "own")
        });
        App::new()
            .get("/", || "home")
            .method_fallback(|| (StatusCode::METHOD_NOT_ALLOWED, "app's"))
            .nest("/own", own)
            .nest("/none", Router::new().get("/", || "").post("/", || "").layer(passed("none")))
    }
    check_short(
        app,
        &[
            ("PUT /", "405 allow: GET, HEAD app's"),
            ("GET /own", "405 allow: mine own own"),
            ("PUT /none", "405 allow: GET, HEAD, POST none app's"),
            ("GET /nothing", "404 Not Found: nothing is served at /nothing."),
        ],
    );
    fn later() -> App {
        App::new().get("/", || "").method_fallback(async || (StatusCode::METHOD_NOT_ALLOWED, "later"))
    }
    check(later, &[("PUT /", "405\ncontent-type: text/plain; charset=utf-8\nallow: GET, HEAD\n\nlater")]);
}

#[test]
fn a_body_limit_is_for_the_router_that_says_it_and_those_in_it() {
    fn app() -> App {
        let length = async |text: String| text.len().to_string();
        let inner = Router::new().post("/", length);
        let small = Router::new().body_limit(2).post("/", length).nest("/in", inner);
        App::new()
            .body_limit(4)
            .post("/", length)
            .nest("/small", small)
            .nest("/as-app", Router::new().post("/", length))
    }
    let too_long = "413 Payload Too Large at POST /small/in: the body is longer than the 2 bytes admitted here.";
    on_a_shard(async move |shard| {
        let service = app().build(&shard).expect("the routes fit together");
        for (path, expect) in [("/", "3"), ("/as-app", "3"), ("/small", "413"), ("/small/in", too_long)] {
            let response = crate::testing::ask(&service, &shard, &format!("POST {path}\n\nabc")).await;
            let told = crate::testing::told(response).await.replace(&format!("\n{TEXT}\n\n"), " ");
            assert!(told.contains(expect), "{path}: {told}");
        }
    });
}

#[track_caller]
fn check_refused(app: App, expect: &[&str]) {
    let expect: Vec<_> = expect.iter().map(|text| (*text).to_owned()).collect();
    on_a_shard(async move |shard| {
        let error = app.build(&shard).err().expect("the declarations do not fit together").to_string();
        assert_eq!(error.lines().count() - 1, expect.len(), "{error}");
        error
            .lines()
            .skip(1)
            .zip(expect)
            .for_each(|(line, expect)| assert!(line.contains(&expect), "{line}\n{expect}"));
    });
}

#[test]
fn conflicts_name_both_lines_through_all_routers() {
    let here = |line: u32| format!("({}:{line}:", file!());
    let items = Router::new().get("/items", || "");
    let first = line!() - 1;
    let app = App::new().nest("/api", items).nest("/api", Router::new().get("/items", || ""));
    check_refused(app, &[&format!("this route is declared already {}", here(first))]);

    let by_name = Router::new().get("/{name}", || "");
    let app = App::new().get("/api/{id}", || "").nest("/api", by_name);
    check_refused(app, &[&format!("it matches the same paths as /api/{{id}} {}", here(line!() - 1))]);

    let first = Router::new().fallback(|| "");
    let line = line!() - 1;
    check_refused(
        App::new().merge(first).merge(Router::new().fallback(|| "")),
        &[&format!("this route is declared already {}", here(line))],
    );
    let first = Router::new().fallback(|| "");
    let line = line!() - 1;
    check_refused(
        App::new().nest("/{a}", first).nest("/{b}", Router::new().fallback(|| "")),
        &[&format!("it matches the same paths as /{{a}} {}", here(line))],
    );
}

#[test]
fn prefixes_and_paths_that_are_none_are_refused() {
    for (prefix, expect) in [
        ("api", "the router nested at api at"),
        ("/api/", "it ends with a slash"),
        ("/", "it is that of every path"),
        ("/{*rest}", "nothing can follow what stands for the rest of a path"),
    ] {
        check_refused(App::new().nest(prefix, Router::new().get("/", || "")), &[expect]);
    }
    check_refused(App::new().nest("/api", Router::new().get("items", || "")), &["a path begins with a slash"]);
    // Fallbacks of different depth stand side by side.
    on_a_shard(async |shard| {
        let router = || Router::new().fallback(|| "");
        let app = App::new().nest("/a", router()).nest("/a/{id}", router()).nest("/a/b", router());
        app.build(&shard).map(drop).expect("they fit together");
    });
}
