use http::HeaderValue;
use http::header::{CONTENT_TYPE, SERVER};

use super::*;
use crate::Made;

static TEXT: Made = Made::new(CONTENT_TYPE, HeaderValue::from_static("text/plain"), "Content-Type: text/plain\r\n");

const DATES: [&[u8]; 2] = [b"Mon, 21 Oct 2013 20:13:21 GMT", b"Mon, 21 Oct 2013 20:13:22 GMT"];

fn server(name: &'static str) -> Headers {
    let mut headers = Headers::of(&TEXT);
    headers.append(SERVER, HeaderValue::from_static(name));
    headers
}

#[test]
fn what_was_written_is_found_for_the_same_answer_alone() {
    let mut answers = Answers::default();
    let mut others = Headers::default();
    others.append(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    let kinds = [Headers::of(&TEXT), Headers::default(), server("a"), server("b"), others];
    for round in 0..3_u8 {
        for date in DATES {
            let standing = Standing { server: b"we", date };
            for status in [StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::IM_A_TEAPOT] {
                for (kind, headers) in kinds.iter().enumerate() {
                    let expect = [date, status.as_str().as_bytes(), &[kind as u8]].concat();
                    let section = &mut answers.of(status, headers, standing).section;
                    assert!(section.is_empty() || *section == expect, "round {round}");
                    section.clone_from(&expect);
                    assert_eq!(answers.of(status, headers, standing).section, expect);
                }
            }
        }
    }
    assert_eq!(answers.known.len(), H3_ANSWERS_KNOWN_MAX);
}

#[test]
fn another_second_is_written_anew() {
    let mut answers = Answers::default();
    let headers = Headers::of(&TEXT);
    let standing = |date| Standing { server: b"we", date };
    let written = answers.of(StatusCode::OK, &headers, standing(DATES[0]));
    written.section.push(1);
    written.keep(&Bytes::from_static(b"head:body"), 4);
    let written = answers.of(StatusCode::OK, &headers, standing(DATES[0]));
    assert_eq!((&written.section[..], written.beginning(4)), (&[1][..], Some(&b"head:"[..])));
    let written = answers.of(StatusCode::OK, &headers, standing(DATES[1]));
    assert!(written.section.is_empty() && written.beginning(4).is_none());
}

#[test]
fn a_whole_answer_is_found_for_its_content_alone_and_what_goes_before_that_for_its_length() {
    let mut answers = Answers::default();
    let (headers, standing) = (Headers::of(&TEXT), Standing { server: b"we", date: DATES[0] });
    let written = answers.of(StatusCode::OK, &headers, standing);
    written.keep(&Bytes::from_static(b"head:body"), 4);
    assert_eq!(written.beginning(4), None, "its section is not kept, so neither is this");
    written.section.push(1);
    written.keep(&Bytes::from_static(b"head:body"), 4);
    assert_eq!(written.beginning(4), Some(&b"head:"[..]));
    assert_eq!((written.beginning(5), written.beginning(0)), (None, None));
    assert_eq!(written.with(b"body").as_deref(), Some(&b"head:body"[..]));
    assert_eq!((written.with(b"boda"), written.with(b"ody"), written.with(b":body")), (None, None, None));
    assert_eq!(answers.of(StatusCode::NOT_FOUND, &headers, standing).beginning(4), None);
}
