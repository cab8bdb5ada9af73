//! Counts a server's user instructions by function, one step at a time.
//!
//! The busiest thread is stopped after every instruction, and where it stands is noted. So the count is exact on any backend, also
//! where a simulator of the processor knows too few system calls, and needs no counters of the processor, which virtual machines seldom
//! have. The server is some thousand times slower meanwhile: what it does by the clock and not by the request (timers, a date) weighs
//! more than in life, and what it waits for has long come. An instruction that repeats itself counts each time.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use object::{Object, ObjectSegment, ObjectSymbol, SymbolKind};

use crate::{Result, machine};

/// Counts from its making to its finish. When it is dropped the server is let go as well: whoever waits for its end would else be told
/// of its stops.
#[derive(Debug)]
pub struct Counter {
    pid: u32,
    is_over: Arc<AtomicBool>,
    /// Until it has been waited for.
    stepper: Option<Stepper>,
}

type Stepper = JoinHandle<std::result::Result<Steps, String>>;

/// How often each address was stepped on.
type Steps = HashMap<u64, u64>;

/// Instructions of one function, and how often it was entered at its first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// As it is called in the program, or where the code lies that is not the program's.
    pub name: String,
    /// In all.
    pub instructions: u64,
    /// A function that was made in line somewhere is not entered there.
    pub entries: u64,
}

impl Counter {
    /// Begins to step through the thread that has used the most time so far. The stepping shares the server's CPU, where it costs
    /// least.
    pub fn attach(pid: u32, server_cpu: usize) -> Result<Self> {
        let thread = busiest_thread(pid)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let (attached, is_attached) = mpsc::channel();
        let stop = Arc::clone(&is_over);
        // Whoever attaches is the only thread that may step.
        let stepper = thread::spawn(move || {
            machine::pin(server_cpu).map_err(|error| error.to_string())?;
            step_through(thread, &stop, &attached).map_err(|errno| format!("cannot step through the server: {errno}"))
        });
        match is_attached.recv() {
            Ok(()) => Ok(Self { pid, is_over, stepper: Some(stepper) }),
            // It has ended, and says why.
            Err(_) => Err(finish(stepper).err().unwrap_or_else(|| "the server has ended".to_owned()).into()),
        }
    }

    /// Lets the server go on, and tells what was counted, the most first.
    pub fn finish(mut self) -> Result<Vec<Function>> {
        let steps = self.stop()?;
        Ok(Code::of(self.pid)?.functions(&steps))
    }

    fn stop(&mut self) -> std::result::Result<Steps, String> {
        self.is_over.store(true, Ordering::Relaxed);
        self.stepper.take().map_or_else(|| Ok(Steps::new()), finish)
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

fn finish(stepper: Stepper) -> std::result::Result<Steps, String> {
    stepper.join().unwrap_or_else(|_| Err("the stepping thread has panicked".to_owned()))
}

fn busiest_thread(pid: u32) -> Result<Pid> {
    let mut busiest = (0, None);
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?;
        let Ok(used) = fs::read_to_string(task.path().join("schedstat")) else { continue }; // it has just ended
        let used: u64 = used.split_whitespace().next().unwrap_or_default().parse()?;
        if used >= busiest.0 {
            busiest = (used, task.file_name().to_str().and_then(|name| name.parse().ok()));
        }
    }
    Ok(Pid::from_raw(busiest.1.ok_or("the server has no thread")?))
}

fn step_through(thread: Pid, is_over: &AtomicBool, attached: &mpsc::Sender<()>) -> nix::Result<Steps> {
    let mut steps = Steps::new();
    ptrace::seize(thread, ptrace::Options::empty())?;
    ptrace::interrupt(thread)?;
    let _ = attached.send(());
    loop {
        let mut has_interrupted = false;
        // A step into a call that waits ends when the wait does.
        let stopped = loop {
            match waitpid(thread, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL))? {
                WaitStatus::StillAlive if is_over.load(Ordering::Relaxed) && !has_interrupted => {
                    ptrace::interrupt(thread)?;
                    has_interrupted = true;
                }
                WaitStatus::StillAlive => thread::yield_now(),
                stopped => break stopped,
            }
        };
        if matches!(stopped, WaitStatus::Exited(..) | WaitStatus::Signaled(..)) {
            return Ok(steps);
        }
        if is_over.load(Ordering::Relaxed) {
            let_go(thread)?;
            return Ok(steps);
        }
        *steps.entry(address(thread)?).or_default() += 1;
        ptrace::step(thread, None)?;
    }
}

/// Ends the tracing of a stopped thread. One that was interrupted in a call has still to be told of its last step, by a signal that
/// would end it if nobody took that.
fn let_go(thread: Pid) -> nix::Result<()> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let pending = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigPnd:")?.trim(), 16).ok());
    if pending.is_some_and(|pending| pending & 1 << (Signal::SIGTRAP as u64 - 1) != 0) {
        ptrace::cont(thread, None)?;
        waitpid(thread, Some(WaitPidFlag::__WALL))?;
    }
    ptrace::detach(thread, None)
}

/// Where a stopped thread stands.
fn address(thread: Pid) -> nix::Result<u64> {
    let registers = ptrace::getregs(thread)?;
    #[cfg(target_arch = "x86_64")]
    return Ok(registers.rip);
    #[cfg(target_arch = "aarch64")]
    return Ok(registers.pc);
}

/// Where the code of a process lies.
#[derive(Debug)]
struct Code {
    /// Of each mapped file: from, to, name.
    files: Vec<(u64, u64, String)>,
    /// The program's functions: from, to, name; by address.
    symbols: Vec<(u64, u64, String)>,
}

impl Code {
    fn of(pid: u32) -> Result<Self> {
        let program = fs::read_link(format!("/proc/{pid}/exe"))?;
        let program_name = program.to_string_lossy().into_owned();
        let mut files = Vec::new();
        let mut offset = None;
        for line in fs::read_to_string(format!("/proc/{pid}/maps"))?.lines() {
            let mut words = line.split_whitespace();
            let (Some(range), Some(rights), Some(at), Some(name)) =
                (words.next(), words.next(), words.next(), words.nth(2))
            else {
                continue;
            };
            let (from, to) = range.split_once('-').ok_or("/proc/PID/maps has no range")?;
            let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
            if rights.contains('x') {
                if name == program_name {
                    offset = Some((from, u64::from_str_radix(at, 16)?));
                }
                files.push((from, to, name.to_owned()));
            }
        }
        let data = fs::read(&program)?;
        let object = object::File::parse(&*data)?;
        let (from, at) = offset.ok_or("the program's code is not mapped")?;
        let is_code = |segment: &object::Segment<'_, '_>| segment.permissions().executable();
        let segment = object.segments().find(is_code).ok_or("the program has no code")?;
        // From an address of the file to one of the process.
        let moved = from.wrapping_sub(at).wrapping_sub(segment.address().wrapping_sub(segment.file_range().0));
        let functions = object.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0);
        let mut symbols: Vec<_> = functions
            .map(|symbol| {
                let start = symbol.address().wrapping_add(moved);
                let name = format!("{:#}", rustc_demangle::demangle(symbol.name().unwrap_or("?")));
                (start, start + symbol.size(), name)
            })
            .collect();
        symbols.sort();
        Ok(Self { files, symbols })
    }

    fn functions(&self, steps: &Steps) -> Vec<Function> {
        let mut functions = HashMap::<&str, (u64, u64)>::new();
        for (&address, &count) in steps {
            let (name, is_entry) = self.name(address);
            let (instructions, entries) = functions.entry(name).or_default();
            *instructions += count;
            *entries += if is_entry { count } else { 0 };
        }
        let named =
            |(name, (instructions, entries)): (&str, _)| Function { name: name.to_owned(), instructions, entries };
        let mut functions: Vec<_> = functions.into_iter().map(named).collect();
        functions.sort_by(|a, b| (b.instructions, &a.name).cmp(&(a.instructions, &b.name)));
        functions
    }

    /// What lies at an address, and whether it begins there.
    fn name(&self, address: u64) -> (&str, bool) {
        let at = self.symbols.partition_point(|(start, ..)| *start <= address);
        match at.checked_sub(1).map(|at| &self.symbols[at]) {
            Some((start, end, name)) if address < *end => (name, address == *start),
            _ => {
                let file = self.files.iter().find(|(from, to, _)| (*from..*to).contains(&address));
                (file.map_or("elsewhere", |(.., name)| name), false)
            }
        }
    }
}

#[cfg(test)]
mod tests;
