//! Why a ring cannot be had, in words: the cause, and what to do about it. A function of what the kernel answered and of the
//! host's switch; what is made of it, fallback or error, is decided elsewhere.

use std::io;

/// Where the host says whether io_uring may be used (Linux 6.6).
pub(super) const SWITCH: &str = "/proc/sys/kernel/io_uring_disabled";

/// Names the cause and the remedy, in whole sentences on one line. `switch` is what stands in [`SWITCH`], or nothing.
pub(super) fn reason(error: &io::Error, switch: &str) -> String {
    match (error.raw_os_error(), switch.trim()) {
        (Some(libc::EPERM), "2") => "io_uring is switched off on this host (kernel.io_uring_disabled = 2). Set it to 0 to use \
             io_uring (`sysctl kernel.io_uring_disabled=0`)."
            .to_owned(),
        // A security policy may answer so as well; while the switch stands, it is the first thing to change.
        (Some(libc::EPERM), "1") => "io_uring is kept for some processes on this host (kernel.io_uring_disabled = 1). Run this one \
             in the group that kernel.io_uring_group names or with CAP_SYS_ADMIN, or set the switch to 0."
            .to_owned(),
        (Some(libc::EPERM | libc::EACCES), _) => "a security policy forbids io_uring (EPERM; the default seccomp profiles \
             of container runtimes do). Run with a profile that admits io_uring_setup, io_uring_enter and io_uring_register."
            .to_owned(),
        (Some(libc::ENOSYS), _) => "the kernel has no io_uring (ENOSYS), or a sandbox hides it. Run on Linux 5.19 or newer, \
             outside of the sandbox, to use it."
            .to_owned(),
        (Some(libc::ENOMEM), _) => "there is not enough lockable memory for io_uring (ENOMEM). Raise RLIMIT_MEMLOCK (`ulimit -l`, \
             or LimitMEMLOCK= in a systemd unit), or the memory limit of the control group."
            .to_owned(),
        (Some(libc::EMFILE | libc::ENFILE), _) => {
            "no file descriptor is left for io_uring. Raise RLIMIT_NOFILE (`ulimit -n`).".to_owned()
        }
        (Some(libc::EINVAL), _) => "the kernel is older than 5.19 (EINVAL). Run on Linux 5.19 or newer to use io_uring.".to_owned(),
        _ => format!("io_uring cannot be set up: {error}."),
    }
}

#[cfg(test)]
mod tests;
