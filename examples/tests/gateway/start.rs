//! What an operator is told at the start.

use std::fs;

use crate::gateway::command;
use crate::served::run_to_end;

const GOOD: &str = "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[routes]]\nprefix = \"/\"\nupstream = \"a\"\n[upstreams.a]\n\
                    endpoints = [\"127.0.0.1:1\"]\n";

/// Runs it to its end: the exit code, and what it said, with the folder's name left out.
fn told(backend: &str, text: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("gateway.toml");
    fs::write(&path, format!("{text}[process]\nbackend = \"{backend}\"\n")).expect("a file");
    let arguments = [&["--config", path.to_str().expect("text")], arguments].concat();
    let (status, log) = run_to_end(&mut command(&arguments));
    (status.code(), log.replace(&format!("{}/", folder.path().display()), ""))
}

pub(crate) fn a_file_that_is_not_in_order_is_refused(backend: &'static str) {
    let text = GOOD.replace("upstream = \"a\"", "upstream = \"b\"").replace("127.0.0.1:1", "localhost");
    let expect = "gateway.toml:5: no upstream is called `b`: there is no [upstreams.b]. Did you mean `a`?\n\
                  gateway.toml:7: \"localhost\" is no IP address and port. Write one such as 10.0.0.1:8080; hosts by their names go \
                  into `names`.\n";
    assert_eq!(told(backend, &text, &[]), (Some(1), expect.to_owned()));
    assert_eq!(told(backend, &text, &["--check"]), (Some(1), expect.to_owned()));
    let (code, log) = told(backend, "[[listeners]\n", &[]);
    assert!(code == Some(1) && log.starts_with("gateway.toml:1: this is no TOML"), "{log}");
    let (status, log) = run_to_end(&mut command(&["--config", "/nowhere/gateway.toml"]));
    let expect = "/nowhere/gateway.toml: the file cannot be read: No such file or directory (os error 2).\n";
    assert_eq!((status.code(), &*log), (Some(1), expect));
    let (status, log) = run_to_end(&mut command(&["--listen"]));
    assert_eq!((status.code(), &*log), (Some(2), "gateway: there is no option --listen\nTry `gateway --help`.\n"));
}

pub(crate) fn a_check_says_whether_it_is(backend: &'static str) {
    assert_eq!(told(backend, GOOD, &["--check"]), (Some(0), String::new()));
    // The sample that is handed out.
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/gateway.toml");
    let (status, log) = run_to_end(&mut command(&["--config", sample, "--check"]));
    assert_eq!((status.code(), &*log), (Some(0), ""));
}
