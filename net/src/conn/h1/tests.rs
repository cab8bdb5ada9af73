//! What an idle connection costs, held to its budget.

use http::StatusCode;

use super::*;

struct Silent;

impl Service for Silent {
    fn call(&self, request: Request) -> Reply {
        Reply::ready(request.peer().shard(), || Response::new(StatusCode::NO_CONTENT))
    }
}

/// A task's slot has a few words besides its future, and its memory comes in powers of two.
#[test]
fn a_connection_fits_a_slot_of_512_bytes() {
    fn future_bytes<F>(_: fn(Counted<Silent>, Transport, Pass, u32) -> F) -> usize {
        size_of::<F>()
    }
    let bytes = future_bytes(serve::<Silent>);
    assert!(bytes <= 496, "an idle connection's task has {bytes} bytes");
}
