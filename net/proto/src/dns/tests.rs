//! Answers as tables of records, written by a small server's hand; each also cut at every byte, and with every byte spoilt.

use super::*;

/// A message that answers the question for `asked`, of this code, with these sections: name, type, TTL, data.
fn message(asked: &str, kind: Kind, code: u8, answers: &[Line<'_>], authorities: &[Line<'_>]) -> Vec<u8> {
    let mut message = question(7, &Name::new(asked).unwrap(), kind, false);
    (message[2], message[3]) = (0x81, 0x80 | code);
    (message[7], message[9]) = (answers.len() as u8, authorities.len() as u8);
    for (name, number, ttl, data) in answers.iter().chain(authorities) {
        message.extend(&Name::new(name).unwrap().0);
        message.extend(number.to_be_bytes());
        message.extend(INTERNET.to_be_bytes());
        message.extend(ttl.to_be_bytes());
        message.extend((data.len() as u16).to_be_bytes());
        message.extend(data);
    }
    message
}

type Line<'l> = (&'l str, u16, u32, Vec<u8>);

fn name(text: &str) -> Vec<u8> {
    Name::new(text).unwrap().0.to_vec()
}

fn soa(minimum: u32) -> Vec<u8> {
    [&name("ns.example")[..], &name("who.example"), &[0; 16], &minimum.to_be_bytes()].concat()
}

/// What is found, in words.
fn told(message: &[u8], asked: &str, kind: Kind) -> String {
    let asked = Name::new(asked).unwrap();
    match read(message, 7, &asked, kind) {
        Err(error) => format!("{error:?}"),
        Ok(answer) if answer.is_truncated => "truncated".to_owned(),
        Ok(answer) => match (answer.code, answer.find(&asked, kind)) {
            (Code::Fine | Code::NoName, Found::Some(data, ttl)) => {
                let data: Vec<_> = data.iter().map(say).collect();
                format!("{} for {ttl}", data.join(" "))
            }
            (Code::Fine | Code::NoName, Found::Elsewhere(name, ttl)) => format!("see {name} for {ttl}"),
            (code @ (Code::Fine | Code::NoName), Found::Nothing(ttl)) => format!("nothing, {code:?}, for {ttl:?}"),
            (code, _) => format!("{code:?}"),
        },
    }
}

fn say(data: &Data) -> String {
    match data {
        Data::Address(address) => address.to_string(),
        Data::Alias(name) => name.to_string(),
        Data::Service { priority, weight, port, target } => format!("{priority}/{weight}/{target}:{port}"),
    }
}

/// The whole says this; a part of it is never taken for more than it is, and nothing that is spoilt panics.
#[track_caller]
fn check(message: &[u8], asked: &str, kind: Kind, expect: &str) {
    assert_eq!(told(message, asked, kind), expect);
    for end in 0..message.len() {
        let part = told(&message[..end], asked, kind);
        assert!(part == "NotOurs" || part == "Malformed" || part == expect, "{end} bytes: {part}");
    }
    for at in 0..message.len() {
        for bit in 0..8 {
            let mut spoilt = message.to_vec();
            spoilt[at] ^= 1 << bit;
            told(&spoilt, asked, kind);
        }
    }
}

const A4: [u8; 4] = [192, 0, 2, 1];

#[test]
fn addresses_are_found_by_whatever_name_they_go() {
    let lines = [("a.example", A, 60, A4.to_vec()), ("A.Example", A, 30, vec![192, 0, 2, 2])];
    check(&message("a.example", Kind::V4, 0, &lines, &[]), "a.example", Kind::V4, "192.0.2.1 192.0.2.2 for 30");
    let sixth = [("a.example", AAAA, 60, Ipv6Addr::LOCALHOST.octets().to_vec())];
    check(&message("a.example", Kind::V6, 0, &sixth, &[]), "a.example", Kind::V6, "::1 for 60");
    let chain = [
        ("a.example", CNAME, 300, name("b.example")),
        ("b.example", CNAME, 20, name("c.example")),
        ("c.example", A, 60, A4.to_vec()),
    ];
    check(&message("a.example", Kind::V4, 0, &chain, &[]), "a.example", Kind::V4, "192.0.2.1 for 20");
    check(&message("a.example", Kind::V4, 0, &chain[..2], &[]), "a.example", Kind::V4, "see c.example for 20");
    let service = [&[0, 1, 0, 2, 0x1f, 0x90][..], &name("host.example")].concat();
    let service = [("_http._tcp.example", SRV, 5, service)];
    let asked = "_http._tcp.example";
    check(&message(asked, Kind::Service, 0, &service, &[]), asked, Kind::Service, "1/2/host.example:8080 for 5");
}

#[test]
fn names_may_point_to_the_front_and_nowhere_else() {
    let mut message = message("a.example", Kind::V4, 0, &[], &[]);
    message[7] = 2;
    message.extend(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01b\xc0\x0e");
    message.extend(b"\xc0\x27\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x07");
    check(&message, "a.example", Kind::V4, "192.0.2.7 for 60");
    // To itself, to what comes behind, and round in a circle.
    for pointer in [b"\xc0\x1b", b"\xc0\x1d", b"\xff\xff"] {
        let mut circle = message.clone();
        circle[27..29].copy_from_slice(pointer);
        check(&circle, "a.example", Kind::V4, "Malformed");
    }
    message[12] = 0xc0;
    assert_eq!(told(&message, "a.example", Kind::V4), "NotOurs");
}

#[test]
fn that_there_is_nothing_holds_for_a_while() {
    let authority = [("example", SOA, 900, soa(300))];
    let none = message("a.example", Kind::V4, 3, &[], &authority);
    check(&none, "a.example", Kind::V4, "nothing, NoName, for Some(300)");
    let authority = [("example", SOA, 100, soa(300))];
    let none = message("a.example", Kind::V6, 0, &[], &authority);
    check(&none, "a.example", Kind::V6, "nothing, Fine, for Some(100)");
    let none = message("a.example", Kind::V6, 0, &[], &[]);
    check(&none, "a.example", Kind::V6, "nothing, Fine, for None");
    // Behind an alias as well.
    let alias = [("a.example", CNAME, 40, name("b.example"))];
    let none = message("a.example", Kind::V6, 0, &alias, &authority);
    check(&none, "a.example", Kind::V6, "nothing, Fine, for Some(40)");
    let none = message("a.example", Kind::V6, 3, &alias, &[]);
    check(&none, "a.example", Kind::V6, "nothing, NoName, for None");
}

#[test]
fn what_does_not_hang_together_with_the_question_is_not_believed() {
    let strange = [("other.example", A, 60, A4.to_vec())];
    check(&message("a.example", Kind::V4, 0, &strange, &[]), "a.example", Kind::V4, "nothing, Fine, for None");
    let circle = [("a.example", CNAME, 60, name("b.example")), ("b.example", CNAME, 60, name("a.example"))];
    let circled = told(&message("a.example", Kind::V4, 0, &circle, &[]), "a.example", Kind::V4);
    assert!(circled.starts_with("see "), "{circled}");
    let fine = message("a.example", Kind::V4, 0, &[("a.example", A, 60, A4.to_vec())], &[]);
    assert_eq!(told(&fine, "b.example", Kind::V4), "NotOurs");
    assert_eq!(told(&fine, "a.example", Kind::V6), "NotOurs");
    let asked = Name::new("a.example").unwrap();
    assert_eq!(read(&fine, 8, &asked, Kind::V4), Err(Error::NotOurs));
    assert_eq!(read(&question(7, &asked, Kind::V4, true), 7, &asked, Kind::V4), Err(Error::NotOurs));
    let wrong = message("a.example", Kind::V4, 0, &[("a.example", A, 60, vec![1, 2, 3])], &[]);
    check(&wrong, "a.example", Kind::V4, "Malformed");
    let wrong = message("a.example", Kind::V4, 0, &[("a.example", CNAME, 60, [name("b"), vec![0]].concat())], &[]);
    check(&wrong, "a.example", Kind::V4, "Malformed");
}

#[test]
fn codes_and_cuts_are_told() {
    check(&message("a.example", Kind::V4, 2, &[], &[]), "a.example", Kind::V4, "Failed(2)");
    check(&message("a.example", Kind::V4, 5, &[], &[]), "a.example", Kind::V4, "Failed(5)");
    check(&message("a.example", Kind::V4, 1, &[], &[]), "a.example", Kind::V4, "NotUnderstood");
    check(&message("a.example", Kind::V4, 4, &[], &[]), "a.example", Kind::V4, "NotUnderstood");
    let mut cut = message("a.example", Kind::V4, 0, &[("a.example", A, 60, A4.to_vec())], &[]);
    cut[2] |= 2;
    assert_eq!(told(&cut, "a.example", Kind::V4), "truncated");
    let long = message("a.example", Kind::V4, 0, &[("a.example", A, u32::MAX, A4.to_vec())], &[]);
    check(&long, "a.example", Kind::V4, "192.0.2.1 for 0");
}

#[test]
fn so_many_records_and_no_more_are_looked_at() {
    let lines: Vec<Line<'_>> = (0..200).map(|number| ("a.example", A, 60, vec![10, 0, 0, number])).collect();
    let asked = Name::new("a.example").unwrap();
    let answer = read(&message("a.example", Kind::V4, 0, &lines, &[]), 7, &asked, Kind::V4).unwrap();
    assert_eq!(answer.records.len(), RECORDS_MAX);
}

#[test]
fn names_are_as_long_as_they_may_be() {
    for text in ["a", "a.", "a.b", "_a._b.c-d", &"a.".repeat(127), &format!("{}.b", "a".repeat(63))] {
        let name = Name::new(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(name.to_string(), text.strip_suffix('.').unwrap_or(text));
    }
    for text in ["", ".", "a..b", ".a", "a b", "ä", &"a.".repeat(128), &format!("{}.b", "a".repeat(64))] {
        assert_eq!(Name::new(text), None, "{text}");
    }
    let (host, domain) = (Name::new("a").unwrap(), Name::new("b.c").unwrap());
    assert_eq!(host.within(&domain).unwrap().to_string(), "a.b.c");
    assert_eq!(Name::new(&"a.".repeat(127)).unwrap().within(&domain), None);
    assert_eq!(Name::new("A.B"), Name::new("a.b."));
}
