//! An answer of a name server, beside what holds of any: bounds, no more of it than has come, and what is found is there.

use proto::dns::{Answer, Data, Found, Kind, Name, RECORDS_MAX, read};

/// Reads the input as the answer to a question that has its number and asks for what most do.
pub fn dns(input: &[u8]) {
    let (name, number) =
        (Name::new("a.example").expect("a name"), input.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes)));
    for kind in [Kind::V4, Kind::V6, Kind::Service] {
        let whole = read(input, number, &name, kind);
        for end in 0..input.len() {
            if let (Ok(part), Ok(whole)) = (read(&input[..end], number, &name, kind), &whole) {
                assert_eq!(part, *whole, "{end} bytes of {}", input.len());
            }
        }
        if let Ok(answer) = whole {
            look(&answer, &name, kind);
        }
    }
}

fn look(answer: &Answer, name: &Name, kind: Kind) {
    assert!(answer.records.len() <= RECORDS_MAX);
    assert!(answer.records.iter().all(|record| record.ttl <= i32::MAX as u32));
    match answer.find(name, kind) {
        Found::Some(data, ttl) => {
            assert!(!data.is_empty() && ttl <= i32::MAX as u32);
            let is_there = |data: &Data| answer.records.iter().any(|record| record.data == *data);
            assert!(data.iter().all(is_there));
        }
        Found::Elsewhere(other, _) => {
            let names = |data: &Data| matches!(data, Data::Alias(alias) if *alias == other);
            assert!(answer.records.iter().any(|record| names(&record.data)), "{other}");
        }
        Found::Nothing(_) => {}
    }
}
