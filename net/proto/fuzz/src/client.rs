//! The client's engine by itself.

use http::Method;
use proto::h1::{Client, Event, Limits};
use proto::head::HeadTable;
use proto::message::BodyLength;

use crate::cut::{Cut, check_field};

/// No panic, one verdict whatever the cuts, nothing read after an error. The first byte says what was asked.
pub fn h1_client(input: &[u8]) {
    let Some((&asked, input)) = input.split_first() else { return };
    let [whole, others @ ..] = Cut::all(input);
    let expect = transcript(asked, input, whole);
    for cut in others {
        assert_eq!(transcript(asked, input, cut), expect, "{cut:?}");
    }
}

/// All that happened, in words.
fn transcript(asked: u8, input: &[u8], mut cut: Cut) -> String {
    let (mut client, mut table, limits) = (Client::new(), HeadTable::new(), Limits::default());
    ask(&mut client, asked);
    let (mut said, mut data, mut held) = (String::new(), Vec::new(), Vec::new());
    let mut sent = 0;
    let mut fuel = 8 * input.len() + 64;
    loop {
        fuel = fuel.checked_sub(1).expect("every step gets somewhere");
        let step = match client.receive(&held, &mut table, &limits) {
            Ok(step) => step,
            Err(error) => {
                assert!(!client.keep_alive());
                let after = client.receive(b"HTTP/1.1 200 OK\r\n\r\n", &mut table, &limits).map(|step| step.event);
                assert_eq!(after, Ok(Event::Closed), "nothing is read after an error");
                return said + &format!("'{}' {error:?}", data.escape_ascii());
            }
        };
        assert!(step.consumed <= held.len());
        match step.event {
            Event::NeedMore => {
                held.drain(..step.consumed);
                if sent == input.len() {
                    return said + &ended(&mut client, &mut table, &limits, &data);
                }
                let count = cut.next(input.len() - sent);
                held.extend_from_slice(&input[sent..sent + count]);
                sent += count;
                continue;
            }
            Event::Head(head) => {
                let block = &held[..step.consumed];
                said += &format!("{} {:?} {head:?} ", table.status(), table.version());
                for (name, value) in table.iter(block) {
                    check_field(name, value);
                    said += &format!("{}={};", name.escape_ascii(), value.escape_ascii());
                }
            }
            Event::Data(range) => {
                assert!(!range.is_empty() && range.end <= step.consumed);
                data.extend_from_slice(&held[range]);
            }
            Event::End { trailers } => {
                for (name, value) in table.trailers().iter(&held[trailers]) {
                    check_field(name, value);
                    said += &format!("+{}={};", name.escape_ascii(), value.escape_ascii());
                }
                said += &format!("'{}' end ", data.escape_ascii());
                data.clear();
                if client.keep_alive() {
                    assert!(client.is_idle());
                    ask(&mut client, asked);
                }
            }
            Event::Tunnel => return said + "tunnel",
            Event::Closed => return said + "closed",
            Event::Http2Preface => unreachable!("a client sees none"),
        }
        held.drain(..step.consumed);
    }
}

fn ask(client: &mut Client, asked: u8) {
    let (method, target) = match asked % 4 {
        0 | 1 => (Method::GET, "/"),
        2 => (Method::HEAD, "/"),
        _ => (Method::CONNECT, "a:1"),
    };
    let fields: &[(&str, &str)] = if asked % 4 == 1 { &[("Upgrade", "x")] } else { &[] };
    let fields = fields.iter().copied();
    let mut out = [0; 128];
    client.request(&method, target.as_bytes(), b"a", fields, BodyLength::None, &mut out).expect("a request fits");
    client.finish(&mut []).expect("a request ends");
}

fn ended(client: &mut Client, table: &mut HeadTable, limits: &Limits, data: &[u8]) -> String {
    let ended = client.end_of_input();
    let last = client.receive(b"", table, limits).map(|step| step.event);
    format!("'{}' {ended:?} {last:?}", data.escape_ascii())
}
