//! Mistakes in declarations: each is an error of the start that names its line and the remedy.

use super::*;
use crate::State;
use crate::testing::on_a_shard;

#[track_caller]
fn check(app: fn() -> App, expect: &'static [&'static str]) {
    on_a_shard(async move |shard| {
        let error = app().build(&shard).err().expect("the declarations do not fit together").to_string();
        // Which line of this file is no part of the expectation.
        let lines = error.lines().skip(1).map(|line| {
            let (place, rest) = line.split_once(" at ").expect("a problem has a place");
            let (location, what) = rest.split_once(": ").expect("a problem says what it is");
            assert!(location.contains("app/tests.rs:"), "{location}");
            format!("{}: {what}", place.trim())
        });
        assert_eq!(lines.collect::<Vec<_>>(), expect);
    });
}

#[test]
fn bad_paths() {
    check(
        || App::new().get("items", || "").get("/{*a}/b", || ""),
        &[
            "GET items: the path cannot be matched: a path begins with a slash. Correct the path.",
            "GET /{*a}/b: the path cannot be matched: `{*rest}` stands for the rest of a path, at its end. Correct the path.",
        ],
    );
}

#[test]
fn routes_that_are_declared_twice_or_overlap_name_the_earlier_line() {
    on_a_shard(async |shard| {
        let app = App::new().get("/a", || "").get("/a", || "").get("/{x}", || "").post("/{y}", || "");
        let error = app.build(&shard).err().expect("two routes do not fit").to_string();
        let line = line!() - 2;
        assert!(error.contains(&format!("this route is declared already ({}:{line}:", file!())), "{error}");
        assert!(error.contains(&format!("it matches the same paths as /{{x}} ({}:{line}:", file!())), "{error}");
    });
}

#[test]
fn a_state_that_is_missing_or_there_twice() {
    #[derive(Clone)]
    struct Held;

    check(
        || App::new().get("/held", |State(_): State<Held>| "").fallback(async |State(_): State<Held>, _: String| ""),
        &[
            "GET /held: it takes State<shardwise::app::tests::a_state_that_is_missing_or_there_twice::Held>, and the app \
             holds no shardwise::app::tests::a_state_that_is_missing_or_there_twice::Held. Give the app one with \
             `.state(value)`.",
            "the fallback: it takes State<shardwise::app::tests::a_state_that_is_missing_or_there_twice::Held>, and the app \
             holds no shardwise::app::tests::a_state_that_is_missing_or_there_twice::Held. Give the app one with \
             `.state(value)`.",
        ],
    );
    check(
        || App::new().state(1_u8).state(2_u8),
        &[
            "the state u8: the app holds a value of this type already. Give each a type of its own: `struct Primary(Pool)`.",
        ],
    );
}

#[test]
fn an_address_that_is_none_is_refused_in_words() {
    on_a_shard(async |_| {
        let error = App::new().serve("here:80").await.unwrap_err().to_string();
        assert!(error.starts_with("cannot listen on \"here:80\" ("), "{error}");
        assert!(error.ends_with("Write one such as 0.0.0.0:8080, 127.0.0.1:8080 or [::]:8080."), "{error}");
    });
}

#[test]
fn an_app_is_served_at_all_its_addresses_and_at_one_at_the_least() {
    on_a_shard(async |_| {
        let error = App::new().serve_all().await.unwrap_err().to_string();
        assert!(error.starts_with("an app is served nowhere, at ") && error.contains(".listen("), "{error}");
        let error = App::new().listen("there").serve("127.0.0.1:80").await.unwrap_err().to_string();
        assert!(error.starts_with("cannot listen on \"there\" ("), "{error}");
    });
    for address in ["10.0.0.1:80", "10.0.0.2:81"] {
        let program = async |_| App::new().get("/", || "hello").listen("10.0.0.1:80").serve("10.0.0.2:81").await;
        let server = crate::test::builder().shards(2).program(address, program);
        assert_eq!(server.get("/").text(), "hello");
    }
}

#[test]
fn an_app_off_a_shard_says_where_it_belongs() {
    let mut serving = std::pin::pin!(App::new().serve("127.0.0.1:0"));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = serving.as_mut().poll(&mut cx) else { panic!("it fails at once") };
    assert!(error.to_string().starts_with("an app was served off a shard, at "), "{error}");
}
