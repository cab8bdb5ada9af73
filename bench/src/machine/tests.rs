use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use super::{CpuUsage, Usage, anonymous_bytes};

const STAT: &str = "cpu  1 2 3 4 5 6 7 8 0 0\ncpu0 10 1 20 400 5 2 3 7 0 0\ncpu10 1 1 1 1 1 1 1 1 0 0\nintr 5\n";

#[test]
fn reads_the_columns_of_one_cpu() {
    let usage = CpuUsage::parse(STAT, 0).unwrap();
    assert_eq!(usage, CpuUsage { busy: Duration::from_millis(360), steal: Duration::from_millis(70) });
    assert_eq!(CpuUsage::parse(STAT, 1).unwrap_err().to_string(), "there is no CPU 1");
}

#[test]
fn a_busy_process_uses_cpu_and_memory() {
    let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    let before = Usage::of(child.id()).unwrap();
    sleep(Duration::from_millis(100));
    let used = Usage::of(child.id()).unwrap() - before;
    let memory = anonymous_bytes(child.id()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(used.cpu > Duration::from_millis(5), "{used:?}");
    assert!(memory >= 4096, "{memory} bytes");
}
