//! Decodes a public corpus of field blocks, the stories of `http2jp/hpack-test-case`: its folders are the output of ten
//! encoders, and its JSON has the fields of each block beside it.
//!
//! `cargo run --bin hpack_stories -- DIR...`, with the folders to replay.

use std::process::ExitCode;
use std::{env, fs};

use proto::head::Known;
use proto::hpack::{Arena, Decoded, Decoder, Encoder, START_BYTES_MAX, Sink, TABLE_BYTES, field_bytes_max};
use serde_json::Value;

#[derive(Default)]
struct Fields(Vec<(String, String)>);

impl Sink for Fields {
    fn field(&mut self, arena: &Arena<'_>, field: Decoded) -> bool {
        let bytes = arena.as_slice();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.0.push((text(field.text.of(bytes)), text(field.value.of(bytes))));
        false
    }

    fn overflow(&mut self) {
        self.0.push(("no room".to_owned(), String::new()));
    }
}

fn main() -> ExitCode {
    let (mut blocks, mut wrong) = (0, 0);
    for folder in env::args().skip(1) {
        let mut paths: Vec<_> = fs::read_dir(&folder).expect(&folder).flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|end| end == "json")) {
            let story: Value = serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON");
            let (mut decoder, mut encoder, mut back) = (Decoder::new(), Encoder::new(), Decoder::new());
            for (number, case) in story["cases"].as_array().expect("cases").iter().enumerate() {
                let Some(wire) = case["wire"].as_str() else { continue };
                let expect: Vec<_> = case["headers"].as_array().expect("headers").iter().flat_map(pairs).collect();
                blocks += 1;
                let first = decode(&mut decoder, &bytes(wire));
                let again = decode(&mut back, &encode(&mut encoder, &expect));
                if first.as_ref() != Ok(&expect) || again.as_ref() != Ok(&expect) {
                    wrong += 1;
                    println!(
                        "{}, case {number}: {first:?}; encoded by us {again:?}; expected {expect:?}",
                        path.display()
                    );
                }
            }
        }
    }
    println!("{blocks} blocks, {wrong} wrong");
    if blocks > 0 && wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn pairs(header: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    header.as_object().expect("an object").iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..][..2], 16).expect("hexadecimal")).collect()
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, proto::hpack::Error> {
    let (mut room, mut fields) = ([0; 4 * TABLE_BYTES], Fields::default());
    decoder.decode(block, &mut Arena::new(&mut room), &mut fields).map(|()| fields.0)
}

fn encode(encoder: &mut Encoder, fields: &[(String, String)]) -> Vec<u8> {
    let room: usize = fields.iter().map(|(name, value)| field_bytes_max(name.as_bytes(), value.as_bytes())).sum();
    let mut out = vec![0; START_BYTES_MAX + room];
    let mut count = encoder.begin(&mut out);
    for (name, value) in fields {
        let known = Known::of(name.as_bytes());
        count += encoder.field(known, name.as_bytes(), value.as_bytes(), &mut out[count..]);
    }
    out.truncate(count);
    out
}
