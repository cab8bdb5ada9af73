//! How many shards, and on which CPUs.
//!
//! Its one idea: the machine is read once into a plain value, [`Topology`], and where shards go is a function of that
//! value, [`Topology::place`]. What counts is not what the machine has but what this process may use: the CPUs of its
//! affinity mask (which container runtimes and `taskset` set) and the time of its control groups' quota.
//!
//! Every platform is read in the same way. Where there is no `/proc` or `/sys`, there is no quota, and each CPU counts
//! as a core of its own on one memory node.
//!
//! It leaves to others the threads themselves: a shard's thread calls [`pin`] on itself.

mod cgroup;
mod limits;

pub use limits::SHARD_COUNT_MAX;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::thread;

use crate::os;

/// What the machine lets this process use.
///
/// ```
/// use shardwise_platform::topology::Topology;
///
/// let placement = Topology::read().place(None, false)?;
/// assert!(!placement.shards.is_empty());
/// println!("{}", placement.why); // 2 shards on CPUs 0-1: one for each CPU that may be used
/// # Ok::<(), shardwise_platform::topology::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    /// The CPUs that threads of this process may run on; at least one, sorted by number.
    pub cpus: Vec<Cpu>,
    /// How many CPUs' worth of time the process may use, if a control group limits it.
    pub quota: Option<f64>,
}

/// A CPU that may be used, in the sense of the operating system: one hardware thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Its number.
    pub id: CpuId,
    /// The physical core it is part of, named by the lowest number among its hardware threads.
    pub core: CpuId,
    /// The NUMA node whose memory is near.
    pub node: usize,
}

/// The operating system's number of a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuId(pub usize);

/// Where the shards go.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// One entry for each shard: the CPU it is pinned to, or `None` if it floats.
    pub shards: Vec<Option<CpuId>>,
    /// Whether an idle shard may spin for a moment before it sleeps. Not if shards outnumber the CPUs or the quota:
    /// then it would spend time that another shard could work in.
    pub may_spin: bool,
    /// How this came about, in one line for the start message.
    pub why: String,
}

/// Why shards cannot be placed or pinned as asked for. All are for the operator to remedy, and say how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No shards were asked for.
    NoShards,
    /// More shards than CPUs were asked for, without oversubscription.
    MoreShardsThanCpus {
        /// How many were asked for.
        requested: usize,
        /// How many CPUs may be used.
        cpus: usize,
    },
    /// More than [`SHARD_COUNT_MAX`] shards were asked for.
    TooManyShards {
        /// How many were asked for.
        requested: usize,
    },
    /// The operating system does not let the thread be pinned to this CPU.
    CannotPin(CpuId),
}

impl Topology {
    /// Reads the machine, as the calling thread may use it. To be called before any thread is pinned.
    pub fn read() -> Self {
        let mask = core_affinity::get_core_ids().unwrap_or_default();
        let mut allowed: Vec<_> = mask.into_iter().map(|core| CpuId(core.id)).collect();
        if allowed.is_empty() {
            // There is no mask to be had here. The numbers are a guess then, and pinning may fail, which it reports.
            let count = thread::available_parallelism().map_or(1, usize::from);
            allowed.extend((0..count.min(SHARD_COUNT_MAX)).map(CpuId));
        }
        Self::read_below(Path::new("/"), &allowed)
    }

    /// As [`read`](Self::read), with the machine's files under `root` and the affinity mask given.
    fn read_below(root: &Path, allowed: &[CpuId]) -> Self {
        let nodes = nodes(root);
        let mut cpus: Vec<_> = allowed
            .iter()
            .map(|&id| Cpu { id, core: core(root, id), node: nodes.get(&id).copied().unwrap_or(0) })
            .collect();
        cpus.sort_by_key(|cpu| cpu.id);
        Self { cpus, quota: cgroup::quota(root) }
    }

    /// Decides how many shards there are and where.
    ///
    /// Without a request there is one for each CPU that may be used, but no more than the quota keeps busy, rounded up.
    ///
    /// Shards go to different physical cores first; second hardware threads are used when every core has a shard. Within
    /// that, one NUMA node is filled before the next: shards talk to each other through shared cache lines, which is
    /// several times dearer between nodes, while few servers are short of memory bandwidth.
    ///
    /// More shards than CPUs must be asked for with `oversubscribe`. They all float then and none spins, as pinning
    /// would only keep one from using a CPU that another leaves idle.
    pub fn place(&self, requested: Option<usize>, oversubscribe: bool) -> Result<Placement, Error> {
        let cpus = self.cpus.len();
        let count = requested.unwrap_or_else(|| self.shard_count());
        match count {
            0 => return Err(Error::NoShards),
            _ if count > SHARD_COUNT_MAX => return Err(Error::TooManyShards { requested: count }),
            _ if count > cpus && !oversubscribe => return Err(Error::MoreShardsThanCpus { requested: count, cpus }),
            _ => {}
        }
        let pinned = count <= cpus;
        let shards: Vec<_> = match pinned {
            true => self.in_order().into_iter().take(count).map(Some).collect(),
            false => vec![None; count],
        };
        let may_spin = pinned && self.quota.is_none_or(|quota| count as f64 <= quota);
        let why = self.why(&shards, requested);
        Ok(Placement { shards, may_spin, why })
    }

    /// How many shards can be kept busy.
    fn shard_count(&self) -> usize {
        // A quota is positive and far below 2⁵³, so its ceiling is a whole number of at least 1.
        let busy = self.quota.map_or(usize::MAX, |quota| quota.ceil() as usize);
        self.cpus.len().min(busy).min(SHARD_COUNT_MAX)
    }

    /// The CPUs in the order in which shards take them.
    fn in_order(&self) -> Vec<CpuId> {
        let mut used: BTreeMap<CpuId, usize> = BTreeMap::new();
        let mut order = Vec::with_capacity(self.cpus.len());
        for cpu in &self.cpus {
            let rank = used.entry(cpu.core).or_default();
            order.push((*rank, cpu.node, cpu.id));
            *rank += 1;
        }
        order.sort_unstable();
        order.into_iter().map(|(_, _, id)| id).collect()
    }

    fn why(&self, shards: &[Option<CpuId>], requested: Option<usize>) -> String {
        let (count, cpus) = (shards.len(), self.cpus.len());
        let noun = if count == 1 { "shard" } else { "shards" };
        let pinned: Vec<_> = shards.iter().flatten().copied().collect();
        let places = match &pinned[..] {
            [] => ", not pinned".to_owned(),
            [cpu] => format!(" on CPU {cpu}"),
            cpus => format!(" on CPUs {}", list(cpus)),
        };
        let quota = self.quota.map_or(String::new(), |quota| format!(", with a quota of {} CPUs", tidy(quota)));
        let reason = match requested {
            Some(_) => format!("as asked for, where {cpus} may be used{quota}"),
            None if count < cpus && self.quota.is_some() => format!("{cpus} may be used{quota}"),
            None => "one for each CPU that may be used".to_owned(),
        };
        format!("{count} {noun}{places}: {reason}")
    }
}

/// Pins the calling thread to a CPU. A wish at most where the system does not do it (macOS, some BSDs).
pub fn pin(cpu: CpuId) -> Result<(), Error> {
    if cpu.0 < SHARD_COUNT_MAX && os::pin(cpu.0) { Ok(()) } else { Err(Error::CannotPin(cpu)) }
}

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoShards => write!(
                f,
                "0 shards were asked for, and a server needs at least one.\n\
                 Ask for 1 or more, or for none in particular to get one for each CPU."
            ),
            Self::MoreShardsThanCpus { requested, cpus } => write!(
                f,
                "{requested} shards were asked for, but this process may use only {cpus} CPU{}.\n\
                 Ask for at most {cpus}, allow more CPUs, or set oversubscribe to let shards share CPUs, unpinned.",
                if *cpus == 1 { "" } else { "s" }
            ),
            Self::TooManyShards { requested } => {
                write!(f, "{requested} shards were asked for, but one process runs at most {SHARD_COUNT_MAX}.")
            }
            Self::CannotPin(cpu) => write!(
                f,
                "A shard cannot be pinned to CPU {cpu}: the operating system refuses it.\n\
                 The CPU may have been switched off or taken from this process's affinity mask since it started."
            ),
        }
    }
}

impl std::error::Error for Error {}

/// The NUMA node of every CPU, as far as the system tells.
fn nodes(root: &Path) -> BTreeMap<CpuId, usize> {
    let Ok(entries) = fs::read_dir(root.join("sys/devices/system/node")) else { return BTreeMap::new() };
    let nodes = entries.flatten().filter_map(|entry| {
        let node: usize = entry.file_name().to_str()?.strip_prefix("node")?.parse().ok()?;
        Some((node, read_list(&entry.path().join("cpulist"))?))
    });
    nodes.flat_map(|(node, cpus)| cpus.into_iter().map(move |cpu| (cpu, node))).collect()
}

/// The physical core of a CPU; the CPU itself if the system does not tell.
fn core(root: &Path, cpu: CpuId) -> CpuId {
    let directory = root.join(format!("sys/devices/system/cpu/cpu{cpu}/topology"));
    // The second name is the older one of the same file.
    let siblings =
        read_list(&directory.join("core_cpus_list")).or_else(|| read_list(&directory.join("thread_siblings_list")));
    // A list that leaves out the CPU itself is not about it.
    let siblings = siblings.filter(|siblings| siblings.contains(&cpu));
    siblings.and_then(|siblings| siblings.into_iter().min()).unwrap_or(cpu)
}

/// Reads a list of CPUs in the kernel's spelling, such as `0-3,8`. None if the file holds anything else.
fn read_list(file: &Path) -> Option<Vec<CpuId>> {
    let text = fs::read_to_string(file).ok()?;
    let mut cpus = Vec::new();
    for range in text.trim().split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last {
            return None;
        }
        // No CPU beyond can be pinned to, and a range without end would fill the memory.
        cpus.extend((first..=last.min(SHARD_COUNT_MAX - 1)).map(CpuId));
    }
    Some(cpus)
}

/// Writes CPUs in the order given, with runs as ranges: `0-3,8`.
fn list(cpus: &[CpuId]) -> String {
    let runs = cpus.chunk_by(|cpu, next| next.0 == cpu.0 + 1).map(|run| match run {
        [cpu] => cpu.to_string(),
        _ => format!("{}-{}", run[0], run[run.len() - 1]),
    });
    runs.collect::<Vec<_>>().join(",")
}

/// At most two decimals, and none that are zero.
fn tidy(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests;
