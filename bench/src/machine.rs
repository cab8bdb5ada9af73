//! What the bench reads from and asks of the kernel: CPU time, switches, memory, pinning, limits.
//!
//! CPU time comes from the scheduler's own counter, in nanoseconds. The split into user and system time is counted
//! in ticks of 10 ms and only good enough to show where time goes.

use std::fs;
use std::ops::Sub;
use std::time::Duration;

use core_affinity::CoreId;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::Result;

/// What a process has used so far; the difference of two is what it used in between. Counted over the threads that
/// live when it is read, so a thread that ends in between takes its share with it: servers keep theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// On a CPU, exact as of the last time each thread was switched out. Read it while the server waits.
    pub cpu: Duration,
    /// User part, in ticks.
    pub user: Duration,
    /// System part, in ticks.
    pub system: Duration,
    /// Times a thread gave up the CPU to wait.
    pub switches: u64,
    /// Times a thread was put off the CPU for another.
    pub preemptions: u64,
}

/// What one CPU has done so far, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuUsage {
    /// For anyone.
    pub busy: Duration,
    /// Wanted to run while the host ran something else.
    pub steal: Duration,
}

impl Usage {
    /// Of this process, all its threads.
    pub fn of(pid: u32) -> Result<Self> {
        let mut usage = Self::default();
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?.path();
            let files = (fs::read_to_string(task.join("schedstat")), fs::read_to_string(task.join("status")));
            let (Ok(schedstat), Ok(status)) = files else { continue }; // the thread has just ended
            usage.cpu += Duration::from_nanos(number(&schedstat, 0)?);
            usage.switches += field(&status, "voluntary_ctxt_switches:")?;
            usage.preemptions += field(&status, "nonvoluntary_ctxt_switches:")?;
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let after_name = stat.rsplit_once(") ").ok_or("/proc/PID/stat has no name")?.1;
        usage.user = ticks(number(after_name, 11)?);
        usage.system = ticks(number(after_name, 12)?);
        Ok(usage)
    }
}

/// CPU time of the children that this process has waited for, in ticks of the kernel's: coarse.
pub fn children_cpu() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(") ").ok_or("/proc/self/stat has no name")?.1;
    Ok(ticks(number(after_name, 13)? + number(after_name, 14)?))
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
            switches: self.switches.saturating_sub(before.switches),
            preemptions: self.preemptions.saturating_sub(before.preemptions),
        }
    }
}

impl CpuUsage {
    /// Of this CPU.
    pub fn of(cpu: usize) -> Result<Self> {
        Self::parse(&fs::read_to_string("/proc/stat")?, cpu)
    }

    /// The columns are user, nice, system, idle, iowait, irq, softirq, steal.
    fn parse(stat: &str, cpu: usize) -> Result<Self> {
        let name = format!("cpu{cpu} ");
        let line = stat.lines().find_map(|line| line.strip_prefix(&name)).ok_or(format!("there is no CPU {cpu}"))?;
        let column = |index| number(line, index);
        let busy = column(0)? + column(1)? + column(2)? + column(5)? + column(6)?;
        Ok(Self { busy: ticks(busy), steal: ticks(column(7)?) })
    }
}

impl Sub for CpuUsage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { busy: self.busy.saturating_sub(before.busy), steal: self.steal.saturating_sub(before.steal) }
    }
}

/// CPU time of the calling thread.
pub fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Bytes of user memory that a process has touched and that no file backs: heap, stacks, anonymous maps.
pub fn anonymous_bytes(pid: u32) -> Result<u64> {
    Ok(field(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?, "Anonymous:")? * 1024)
}

/// Pins the calling thread, and with it all processes that it starts from here on.
pub fn pin(cpu: usize) -> Result<()> {
    if core_affinity::set_for_current(CoreId { id: cpu }) {
        Ok(())
    } else {
        Err(format!("cannot pin to CPU {cpu}: this machine has no such CPU or the process may not use it").into())
    }
}

/// Raises the soft limit on open descriptors to the hard one and returns it.
pub fn raise_descriptor_limit() -> Result<usize> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.map_or(usize::MAX, |maximum| maximum as usize))
}

/// The kernel counts these in hundredths of a second, whatever its own tick.
fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 10)
}

/// The whole number in a column, counted from 0.
fn number(text: &str, column: usize) -> Result<u64> {
    let word = text.split_whitespace().nth(column).ok_or_else(|| format!("no column {column} in {text:?}"))?;
    Ok(word.parse().map_err(|error| format!("{word:?}: {error}"))?)
}

/// The number behind a name at the start of a line.
fn field(text: &str, name: &str) -> Result<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| format!("no line {name}"))?;
    number(rest, 0)
}

#[cfg(test)]
mod tests;
