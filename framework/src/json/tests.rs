//! Where JSON answers are written, and what counts as JSON.

use std::io::Write;

use net::Content;

use super::*;
use crate::testing::{gathered, on_a_shard};

#[test]
fn an_answer_grows_from_chunk_to_chunk_to_the_heap() {
    on_a_shard(async |shard| {
        for (count, is_pooled) in [(0, true), (1022, true), (1023, true), (5000, true), (65_534, true), (65_535, false)]
        {
            let text = "x".repeat(count);
            let response = Json(&text).respond();
            let Content::Full(buf) = &response.content else { panic!("JSON is there at once") };
            assert_eq!(matches!(buf, Buf::Chunk(_)), is_pooled, "{count}");
            assert_eq!(gathered(response.content).await, format!("\"{text}\""));
        }
        assert_eq!(shard.pool().stats().pooled_bytes, 0);
    });
}

#[test]
fn pieces_end_up_in_order_wherever_the_edge_falls() {
    on_a_shard(async |shard| {
        for piece in [1, 7, 300, 1000, 40_000] {
            let mut out = Output::new(Some(shard.pool()));
            let mut expect = Vec::new();
            while expect.len() < 100_000 {
                let bytes = vec![expect.len() as u8; piece];
                out.write_all(&bytes).expect("memory takes it");
                expect.extend(bytes);
            }
            assert!(out.finish().as_slice() == expect, "pieces of {piece}");
        }
    });
}

#[test]
fn off_a_shard_the_heap_serves() {
    let Content::Full(buf) = Json("a").respond().content else { panic!("JSON is there at once") };
    assert_eq!(buf.as_slice(), b"\"a\"");
    assert!(matches!(buf, Buf::Vec(_)));
}

#[test]
fn a_value_that_is_no_json_is_our_fault() {
    let response = Json(std::collections::BTreeMap::from([((1, 2), 3)])).respond();
    assert_eq!(response.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(response.cause.is_some());
}

#[test]
fn content_types_of_json() {
    for (content_type, expect) in [
        ("application/json", true),
        ("Application/JSON ; charset=utf-8", true),
        ("application/problem+json", true),
        ("+json", true),
        ("application/jsonx", false),
        ("text/plain", false),
        ("json", false),
        ("", false),
    ] {
        assert_eq!(is_json(content_type.as_bytes()), expect, "{content_type}");
    }
}
