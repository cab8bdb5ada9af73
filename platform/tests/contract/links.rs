//! What is not there. With `DEFER_TASKRUN`, a chain of linked entries of which one is silent never completes (Linux 6.1 and
//! later), so the ring backend links nothing and silences nothing. Whoever wants to, finds this test, and tries the chain first.

const URING: &str = include_str!("../../src/backend/uring.rs");

#[test]
fn no_entry_is_linked_or_silent() {
    for flag in ["IO_LINK", "IO_HARDLINK", "SKIP_SUCCESS", "LinkTimeout"] {
        assert!(!URING.contains(flag), "{flag} in the ring backend");
    }
}
