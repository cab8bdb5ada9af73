//! What the two processes say to each other, over a cord within one.

use super::*;

#[test]
fn a_heading_is_what_was_said_and_nothing_else() {
    let read = |text| heading(text).map(|(number, purpose, address)| format!("{number} {purpose:?} {address}"));
    assert_eq!(read("left 3 serve 127.0.0.1:80").as_deref(), Some("3 Serve 127.0.0.1:80"));
    assert_eq!(read("left 0 outside [::]:9").as_deref(), Some("0 Outside [::]:9"));
    for wrong in
        ["", "left", "left 3", "left x serve 127.0.0.1:80", "left 3 eat 127.0.0.1:80", "left 3 serve here", "all"]
    {
        assert_eq!(read(wrong), None, "{wrong}");
    }
}

#[test]
fn a_keepsake_is_what_was_said_and_nothing_else() {
    let value: Vec<u8> = (0..=255).collect();
    let text = format!("keep the-name {}", hexadecimal(&value));
    assert_eq!(keepsake(&text), Some(("the-name", value)));
    assert_eq!(keepsake("keep empty "), Some(("empty", Vec::new())));
    let long = format!("keep long {}", "00".repeat(crate::limits::KEEPSAKE_BYTES_MAX + 1));
    for wrong in
        ["", "keep", "keep name", "keep name 0", "keep name 0x", "keep name +1", "keep name é", "keep  00", &long]
    {
        assert_eq!(keepsake(wrong), None, "{wrong}");
    }
}

#[test]
fn a_successor_is_started_as_this_process_was() {
    let program = Program::of_process().unwrap();
    assert!(program.path.is_absolute(), "{program:?}");
    assert_eq!(program.arguments, env::args_os().skip(1).collect::<Vec<_>>());
}
