//! The system's files, as they are and as they should not be.

use super::*;

#[track_caller]
fn check(text: &str, servers: &str, search: &str, rest: (usize, u32, u64)) {
    let settings = Settings::parse(text);
    let told = |list: Vec<String>| list.join(" ");
    assert_eq!(told(settings.servers.iter().map(ToString::to_string).collect()), servers, "{text}");
    assert_eq!(told(settings.search.iter().map(ToString::to_string).collect()), search, "{text}");
    assert_eq!((settings.dots, settings.attempts, settings.timeout.as_secs()), rest, "{text}");
}

#[test]
fn settings_are_read_as_other_programs_read_them() {
    let usual = (1, 2, 5);
    check("", "127.0.0.1:53", "", usual);
    check("nameserver 10.0.0.2\nnameserver fd00::1\n", "10.0.0.2:53 [fd00::1]:53", "", usual);
    check("# a remark\n; another\nnameserver 10.0.0.2 # and more", "10.0.0.2:53", "", usual);
    check("nameserver nowhere\nnonsense\n\nnameserver", "127.0.0.1:53", "", usual);
    check(&"nameserver 10.0.0.2\n".repeat(9), "10.0.0.2:53 10.0.0.2:53 10.0.0.2:53", "", usual);
    check("search a.example b.example ..\n", "127.0.0.1:53", "a.example b.example", usual);
    check("search a.example\ndomain c.example\n", "127.0.0.1:53", "c.example", usual);
    check(&format!("search{}", " a".repeat(50)), "127.0.0.1:53", "a a a a a a", usual);
    check("options ndots:5 timeout:1 attempts:3 rotate", "127.0.0.1:53", "", (5, 3, 1));
    check("options ndots:99 timeout:0 attempts:0 x: :", "127.0.0.1:53", "", (15, 1, 1));
    check("options timeout:99 attempts:99 ndots:-1", "127.0.0.1:53", "", (1, 5, 30));
}

#[test]
fn a_name_is_meant_in_domains_by_the_number_of_its_dots() {
    let settings = Settings::parse("search b.example c.example\noptions ndots:2");
    let meant = |text: &str| -> String {
        let names = settings.meant(text).unwrap_or_default();
        names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(meant("a"), "a.b.example a.c.example a");
    assert_eq!(meant("a.a"), "a.a.b.example a.a.c.example a.a");
    assert_eq!(meant("a.a.a"), "a.a.a a.a.a.b.example a.a.a.c.example");
    assert_eq!(meant("a."), "a");
    assert_eq!(meant("a..b"), "");
    assert_eq!(meant(""), "");
}

#[test]
fn hosts_are_found_in_any_case() {
    let text = "127.0.0.1 localhost Here # me\n::1 here\n10.0.0.1 here\n10.0.0.1 here\nnonsense here\n\n1.2.3.4";
    let hosts = Hosts::parse(text);
    let told =
        |name: &str| hosts.get(name).map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    assert_eq!(told("HERE.").as_deref(), Some("127.0.0.1 ::1 10.0.0.1"));
    assert_eq!(told("localhost").as_deref(), Some("127.0.0.1"));
    assert_eq!(told("there"), None);
}
