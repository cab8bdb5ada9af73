//! What is read as a trace and what is not, by the rules and examples of W3C Trace Context.

use super::*;
use crate::Simulation;

const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const SPAN: u64 = 0x00f0_67aa_0ba9_02b7;

#[track_caller]
fn check(text: &str, expect: Option<bool>) {
    let read = TraceContext::parse(text.as_bytes());
    assert_eq!(read, expect.and_then(|is_sampled| TraceContext::new(TRACE, SPAN, is_sampled)), "{text:?}");
}

#[test]
fn what_is_well_formed_is_read() {
    check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Some(true));
    check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", Some(false));
    // Flags that this version does not know are not looked at.
    check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fe", Some(false));
    check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", Some(true));
}

#[test]
fn a_later_version_is_read_as_far_as_it_is_known() {
    check("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Some(true));
    check("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be-like", Some(true));
    check("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what-the-future-will-be-like", None);
    check("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None);
}

#[test]
fn what_is_not_well_formed_is_no_trace() {
    for text in [
        "",
        "00",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067AA0BA902B7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7_01",
        "0-04bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-001",
        "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-.0",
        " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\t",
    ] {
        check(text, None);
    }
}

/// Every byte of a well-formed text, put in the place of every other: what is read is written as it was.
#[test]
fn what_is_read_is_written_as_it_was() {
    let text = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for at in 0..text.len() {
        for byte in 0..=u8::MAX {
            let mut changed = *text;
            changed[at] = byte;
            if let Some(trace) = TraceContext::parse(&changed) {
                let written = trace.to_string();
                // The version is ours, and so are the flags but one.
                assert_eq!(&written.as_bytes()[2..53], &changed[2..53]);
                assert_eq!(TraceContext::parse(written.as_bytes()), Some(trace));
            }
        }
    }
}

#[test]
fn a_trace_begins_with_numbers_of_its_own_and_a_span_stays_within_it() {
    Simulation::new(1).run(async |shard| {
        let (one, other) = (TraceContext::begin(&shard), TraceContext::begin(&shard));
        assert_ne!(one.trace_id(), other.trace_id());
        assert!(!one.is_sampled() && one.sampled(true).is_sampled());
        let child = one.child(&shard);
        assert_eq!(child.trace_id(), one.trace_id());
        assert_ne!(child.span_id(), one.span_id());
        assert_eq!(TraceContext::new(0, 1, true), None);
        assert_eq!(TraceContext::new(1, 0, true), None);
    });
}
