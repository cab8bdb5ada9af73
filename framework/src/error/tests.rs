//! What becomes of errors: their text, and the status they answer with.

use std::fmt;

use super::*;

#[derive(Debug)]
struct Outer(std::num::ParseIntError);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the port is not one")
    }
}

impl StdError for Outer {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

fn number() -> std::num::ParseIntError {
    "x".parse::<u16>().unwrap_err()
}

#[test]
fn an_error_is_shown_with_its_causes() {
    let check = |error: Error, expect: &str| {
        assert_eq!(error.to_string(), expect);
        assert_eq!(format!("{error:?}"), expect);
    };
    check(Error::new("no"), "no");
    check(number().into(), "invalid digit found in string");
    check(Outer(number()).into(), "the port is not one: invalid digit found in string");
}

#[test]
fn an_answer_hides_the_reason_and_keeps_it_for_the_log() {
    let check = |error: Error, status: StatusCode, is_logged: bool| {
        let response = error.respond();
        assert_eq!(response.status, status);
        assert_eq!(response.cause.is_some(), is_logged);
    };
    check(number().into(), StatusCode::INTERNAL_SERVER_ERROR, true);
    check(BodyError::TooLarge { max: 3 }.into(), StatusCode::PAYLOAD_TOO_LARGE, false);
    check(BodyError::Truncated.into(), StatusCode::BAD_REQUEST, false);
    check(Rejection::new(StatusCode::CONFLICT, "taken").into(), StatusCode::CONFLICT, false);
    check(client::Error::Closed.into(), StatusCode::BAD_GATEWAY, true);
    check(client::Error::TimedOut(client::Step::Head).into(), StatusCode::GATEWAY_TIMEOUT, true);
    check(client::Error::Busy.into(), StatusCode::SERVICE_UNAVAILABLE, true);
    check(client::Error::Url { url: "x".into(), what: "no" }.into(), StatusCode::INTERNAL_SERVER_ERROR, true);
    let body = BodyError::TooLarge { max: 3 };
    check(client::Error::Body(body.into()).into(), StatusCode::PAYLOAD_TOO_LARGE, false);
}
