//! The order in which addresses are tried. Connections are in `net/tests/connect.rs`.

use std::net::SocketAddr;

use super::race::interleave;

#[track_caller]
fn check(addresses: &str, expect: &str) {
    let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
    let mixed = interleave(addresses.split_whitespace().map(address).collect());
    let mixed: Vec<_> = mixed.iter().map(ToString::to_string).collect();
    assert_eq!(mixed.join(" "), expect);
}

#[test]
fn families_take_turns_and_the_first_begins() {
    check("", "");
    check("1.1.1.1:1", "1.1.1.1:1");
    check("1.1.1.1:1 2.2.2.2:1", "1.1.1.1:1 2.2.2.2:1");
    check("[::1]:1 [::2]:1 [::3]:1 1.1.1.1:1", "[::1]:1 1.1.1.1:1 [::2]:1 [::3]:1");
    check("1.1.1.1:1 2.2.2.2:1 [::1]:1 [::2]:1", "1.1.1.1:1 [::1]:1 2.2.2.2:1 [::2]:1");
    check("[::1]:1 1.1.1.1:1 2.2.2.2:1 3.3.3.3:1", "[::1]:1 1.1.1.1:1 2.2.2.2:1 3.3.3.3:1");
}
