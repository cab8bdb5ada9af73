//! Each cause has its words.

use super::*;

#[track_caller]
fn check(code: i32, switch: &str, texts: &[&str]) {
    let reason = reason(&io::Error::from_raw_os_error(code), switch);
    assert!(texts.iter().all(|text| reason.contains(text)), "{texts:?} in {reason:?}");
    assert!(!reason.contains("  ") && !reason.contains('\n') && reason.ends_with('.'), "{reason:?}");
}

#[test]
fn the_switch_of_the_host_is_named_with_its_value() {
    check(libc::EPERM, "2\n", &["switched off", "kernel.io_uring_disabled = 2", "Set it to 0"]);
    check(
        libc::EPERM,
        "1\n",
        &["kernel.io_uring_disabled = 1", "kernel.io_uring_group", "CAP_SYS_ADMIN", "set the switch to 0"],
    );
}

#[test]
fn a_host_whose_switch_admits_it_has_another_cause() {
    for switch in ["0\n", "", "nonsense"] {
        check(
            libc::EPERM,
            switch,
            &["security policy", "EPERM", "io_uring_setup, io_uring_enter and io_uring_register"],
        );
    }
    // The switch says nothing about other failures.
    check(libc::ENOSYS, "2", &["ENOSYS", "Linux 5.19 or newer"]);
}

#[test]
fn other_causes_have_their_remedies() {
    check(libc::EACCES, "0", &["security policy"]);
    check(libc::ENOMEM, "0", &["ENOMEM", "RLIMIT_MEMLOCK", "LimitMEMLOCK=", "control group"]);
    check(libc::EMFILE, "0", &["RLIMIT_NOFILE"]);
    check(libc::ENFILE, "0", &["RLIMIT_NOFILE"]);
    check(libc::EINVAL, "0", &["EINVAL", "Linux 5.19 or newer"]);
    check(libc::EIO, "0", &["os error 5"]);
}
