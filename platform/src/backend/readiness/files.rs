#![allow(unsafe_code)]
//! Files on the readiness backend. A regular file is always "ready" and blocks all the same, so a few threads of the
//! shard's own do the blocking, and post what came of it back.
//!
//! The threads stand where the kernel stands for io_uring: an operation's memory stays in its slot until its result has
//! landed, so they work on it by address. They hold the file themselves while they work on it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ptr::NonNull;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::arena::Key;
use crate::flight::Core;
use crate::handle::{Handle, Resource};
use crate::limits::FILE_THREADS_MAX;
use crate::op::{Op, OpenFile, Outcome, Stat};
use crate::os::{self, PipeEnds, error_of};
use crate::unpark::Unparker;
use crate::{Error, Result};

/// The shard's side of its file threads.
pub(super) struct Files {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Jobs given to the threads that have not landed.
    pending: usize,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    unparker: Unparker,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<(Key, Job)>,
    done: Vec<(Key, Result<Done>)>,
    /// Threads that wait for a job.
    idle: usize,
    closed: bool,
}

enum Job {
    Open { file: OpenFile, beneath: Option<Arc<File>> },
    Load { file: Arc<File>, offset: u64, bytes: usize, ends: Arc<PipeEnds> },
    Read { file: Arc<File>, offset: u64, start: NonNull<u8>, len: usize },
    Write { file: Arc<File>, offset: u64, start: NonNull<u8>, len: usize },
    Sync(Arc<File>),
    Stat(Arc<File>),
}

// SAFETY: the addresses are of memory that the operation's slot owns and that nobody else touches until the job has landed
// or has been taken back, see `Files::start`; memory may be written to and read from any thread.
unsafe impl Send for Job {}

enum Done {
    Opened(File),
    Bytes(usize),
    Synced,
    Stat(Stat),
}

impl Files {
    pub(super) fn new(unparker: &Unparker) -> Self {
        let shared = Shared { state: Mutex::default(), work: Condvar::new(), unparker: unparker.clone() };
        Files { shared: Arc::new(shared), threads: Vec::new(), pending: 0 }
    }

    /// Gives an operation to a thread.
    pub(super) fn start(&mut self, core: &mut Core, key: Key) {
        let job = match job_of(core, key) {
            Ok(job) => job,
            Err(error) => return core.land(key, Err(error)),
        };
        let mut state = self.shared.lock();
        if state.idle <= state.jobs.len() && self.threads.len() < FILE_THREADS_MAX {
            self.threads.extend(spawn(&self.shared));
        }
        if self.threads.is_empty() {
            return core.land(key, Err(Error::OutOfMemory));
        }
        self.pending += 1;
        state.jobs.push_back((key, job));
        self.shared.work.notify_one();
    }

    /// Takes an operation back that no thread has begun; one that runs ends as it ends.
    pub(super) fn cancel(&mut self, core: &mut Core, key: Key) {
        let mut state = self.shared.lock();
        let Some(place) = state.jobs.iter().position(|(queued, _)| *queued == key) else { return };
        state.jobs.remove(place);
        drop(state);
        self.pending -= 1;
        core.land(key, Err(Error::Cancelled));
    }

    /// Lands what the threads have done.
    pub(super) fn land(&mut self, core: &mut Core) {
        if self.pending == 0 {
            return;
        }
        let done = std::mem::take(&mut self.shared.lock().done);
        self.pending -= done.len();
        for (key, result) in done {
            let outcome = match result {
                Ok(Done::Bytes(bytes)) if matches!(core.op(key), Some(Op::Read { .. })) => {
                    core.land_read(key, bytes);
                    continue;
                }
                Ok(Done::Bytes(bytes)) if matches!(core.op(key), Some(Op::Load { .. })) => {
                    core.land_loaded(key, bytes);
                    continue;
                }
                Ok(Done::Bytes(bytes)) => {
                    core.land_sent(key, bytes);
                    continue;
                }
                Ok(Done::Opened(file)) => core.admit(Resource::File(Arc::new(file))).map(Outcome::Opened),
                Ok(Done::Synced) => Ok(Outcome::Synced),
                Ok(Done::Stat(stat)) => Ok(Outcome::Stat(stat)),
                Err(error) => Err(error),
            };
            core.land(key, outcome);
        }
    }
}

/// The threads end when they have done what they are doing. They are waited for unless one is stuck in the kernel: then the
/// reactor leaks what it works on.
impl Drop for Files {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
        if self.pending == 0 {
            self.threads.drain(..).for_each(|thread| thread.join().unwrap_or_default());
        }
    }
}

/// The job of an operation, which points to the memory in its slot.
fn job_of(core: &mut Core, key: Key) -> Result<Job> {
    let op = core.op(key).ok_or(Error::Closed)?;
    let file = match op.handle() {
        Some(handle) => Some(file_of(core, handle)?),
        None => None,
    };
    if let Op::Open { file: open } = op {
        let OpenFile { ref path, read, write, create, truncate, .. } = **open;
        let open = OpenFile { path: path.clone(), beneath: None, read, write, create, truncate };
        return Ok(Job::Open { file: open, beneath: file });
    }
    let Some(file) = file else { unreachable!("{} is no work for a thread", op.name()) };
    Ok(match core.op_mut(key).ok_or(Error::Closed)? {
        Op::Read { offset, into, .. } => {
            let offset = *offset;
            let spare = into.spare();
            Job::Read { file, offset, start: NonNull::from(&mut *spare).cast(), len: spare.len() }
        }
        Op::Write { offset, data, .. } => {
            Job::Write { file, offset: *offset, start: NonNull::from(data.as_slice()).cast(), len: data.len() }
        }
        Op::Load { pipe, .. } if pipe.bytes() > 0 => return Err(Error::Invalid),
        Op::Load { offset, bytes, pipe, .. } => {
            Job::Load { file, offset: *offset, bytes: *bytes as usize, ends: Arc::clone(pipe.ends()) }
        }
        Op::Sync { .. } => Job::Sync(file),
        Op::Stat { .. } => Job::Stat(file),
        op => unreachable!("{} is no work for a thread", op.name()),
    })
}

/// The file of a handle, for a thread to hold.
fn file_of(core: &Core, handle: Handle) -> Result<Arc<File>> {
    match &core.handles.entry(handle).ok_or(Error::Closed)?.resource {
        Resource::File(file) => Ok(Arc::clone(file)),
        _ => Err(error_of(os::code::ESPIPE)),
    }
}

impl Shared {
    /// No thread panics while it holds the lock, so poison means nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of one thread.
    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if state.closed {
                return;
            }
            let Some((key, job)) = state.jobs.pop_front() else {
                state.idle += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                continue;
            };
            drop(state);
            // The thread lets go of the file before it says so: the descriptor closes when its last handle does.
            let result = job.run().map_err(Error::from);
            state = self.lock();
            state.done.push((key, result));
            if state.done.len() == 1 {
                self.unparker.unpark();
            }
        }
    }
}

/// Starts one more thread, if the system has one to give.
fn spawn(shared: &Arc<Shared>) -> Option<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new().name("shardwise-file".to_owned()).spawn(move || shared.serve()).ok()
}

impl Job {
    fn run(self) -> io::Result<Done> {
        match self {
            Job::Open { file, beneath: None } => os::open(&file).map(Done::Opened),
            Job::Open { file, beneath: Some(directory) } => os::open_beneath(&directory, &file).map(Done::Opened),
            Job::Load { file, offset, bytes, ends } => retry(|| ends.load(&file, offset, bytes)).map(Done::Bytes),
            Job::Read { file, offset, start, len } => {
                // SAFETY: the memory is the initialised spare room of the chunk in the operation's slot. The slot keeps it,
                // and keeps everyone else from it, until this job has landed.
                let room = unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), len) };
                retry(|| os::read_at(&file, room, offset)).map(Done::Bytes)
            }
            Job::Write { file, offset, start, len } => {
                // SAFETY: the bytes are those of the buffer in the operation's slot, which keeps them unchanged until this
                // job has landed.
                let data = unsafe { std::slice::from_raw_parts(start.as_ptr(), len) };
                retry(|| os::write_at(&file, data, offset)).map(Done::Bytes)
            }
            Job::Sync(file) => retry(|| file.sync_all()).map(|()| Done::Synced),
            Job::Stat(file) => stat_of(&file).map(Done::Stat),
        }
    }
}

/// Calls again while a signal interrupts.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn stat_of(file: &File) -> io::Result<Stat> {
    let facts = file.metadata()?;
    Ok(Stat {
        bytes: facts.len(),
        is_file: facts.is_file(),
        is_directory: facts.is_dir(),
        modified: facts.modified()?,
        inode: os::inode_of(&facts),
    })
}
