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
                    let section = answers.section(status, headers, standing);
                    assert!(section.is_empty() || *section == expect, "round {round}");
                    section.clone_from(&expect);
                    assert_eq!(*answers.section(status, headers, standing), expect);
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
    answers.section(StatusCode::OK, &headers, standing(DATES[0])).push(1);
    assert_eq!(*answers.section(StatusCode::OK, &headers, standing(DATES[0])), [1]);
    assert!(answers.section(StatusCode::OK, &headers, standing(DATES[1])).is_empty());
}
