//! The CPU time that control groups allow this process, read from plain files.
//!
//! A quota can be set at any level of the hierarchy, and all of them hold; so its one idea is to walk from the
//! process's own group up to the highest that is visible, and take the smallest. Version 2 (`cpu.max`) and version 1
//! (`cpu.cfs_quota_us`) are read alike, and both where a machine has both.
//!
//! What cannot be read or understood counts as no limit: a server that starts with a shard too many is slower,
//! one that does not start is worse.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// How many CPUs' worth of time the process may use, if anything limits it. `root` is where the machine's `/` is found.
pub(super) fn quota(root: &Path) -> Option<f64> {
    let groups = read(&root.join("proc/self/cgroup")).unwrap_or_default();
    let mounts = read(&root.join("proc/self/mountinfo")).unwrap_or_default();
    let mounts: Vec<Mount> = mounts.lines().filter_map(Mount::parse).collect();

    let memberships = groups.lines().filter_map(Membership::parse);
    let limits = memberships.flat_map(|group| mounts.iter().filter_map(move |mount| mount.limit(root, &group)));
    limits.reduce(f64::min)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Version {
    V1,
    V2,
}

/// A line of `/proc/self/cgroup`: which group the process is in, in a hierarchy that may limit CPU time.
struct Membership<'a> {
    version: Version,
    /// As seen from the root of the process's cgroup namespace.
    path: &'a Path,
}

/// A line of `/proc/self/mountinfo`: where a hierarchy, or a part of one, can be looked at.
struct Mount {
    version: Version,
    /// The group at the top of what is mounted, as seen from the root of the cgroup namespace.
    group: PathBuf,
    /// Relative to the machine's `/`.
    point: PathBuf,
}

impl<'a> Membership<'a> {
    /// `hierarchy-ID:controller-list:cgroup-path`; version 2 has ID 0 and no controllers.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let version = match (id, controllers) {
            ("0", "") => Version::V2,
            _ if controllers.split(',').any(|name| name == "cpu") => Version::V1,
            _ => return None,
        };
        Some(Self { version, path: Path::new(path) })
    }
}

impl Mount {
    /// `ID parent device root mount-point options [optional fields …] - type source super-options`.
    fn parse(line: &str) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let (mut mount, mut filesystem) = (mount.split(' ').skip(3), filesystem.split(' '));
        let version = match filesystem.next()? {
            "cgroup2" => Version::V2,
            "cgroup" if filesystem.nth(1)?.split(',').any(|option| option == "cpu") => Version::V1,
            _ => return None,
        };
        let group = PathBuf::from(unescape(mount.next()?));
        let point = unescape(mount.next()?);
        Some(Self { version, group, point: PathBuf::from(point.trim_start_matches('/')) })
    }

    /// The smallest limit on the process's group and those above it, as far as this mount shows them. None if it shows
    /// another part of the hierarchy: a namespace can be entered from outside, which makes paths such as `/../other`.
    fn limit(&self, root: &Path, group: &Membership) -> Option<f64> {
        let below = group.path.strip_prefix(&self.group).ok()?;
        if group.version != self.version || below.components().any(|part| part == Component::ParentDir) {
            return None;
        }
        let top = root.join(&self.point);
        below.ancestors().filter_map(|level| self.version.limit(&top.join(level))).reduce(f64::min)
    }
}

impl Version {
    /// What one group allows: its quota of CPU time in a period, as a number of CPUs.
    fn limit(self, directory: &Path) -> Option<f64> {
        let (quota, period) = match self {
            Version::V2 => {
                let max = read(&directory.join("cpu.max"))?;
                let (quota, period) = max.trim().split_once(' ')?;
                (quota.to_owned(), period.to_owned())
            }
            Version::V1 => (read(&directory.join("cpu.cfs_quota_us"))?, read(&directory.join("cpu.cfs_period_us"))?),
        };
        // No limit is written `max` in version 2 and -1 in version 1; neither is a `u32`, nor is garbage.
        let quota: u32 = quota.trim().parse().ok()?;
        let period: u32 = period.trim().parse().ok()?;
        (quota > 0 && period > 0).then(|| f64::from(quota) / f64::from(period))
    }
}

fn read(file: &Path) -> Option<String> {
    // Paths need not be UTF-8; those that are not become paths that do not exist, which is what we could do about them.
    Some(String::from_utf8_lossy(&fs::read(file).ok()?).into_owned())
}

/// Undoes mountinfo's spelling of white space and backslashes: three octal digits after a backslash.
fn unescape(field: &str) -> String {
    let mut pieces = field.split('\\');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if byte.is_ascii() => {
                plain.push(char::from(byte));
                plain.push_str(&piece[3..]);
            }
            _ => {
                plain.push('\\');
                plain.push_str(piece);
            }
        }
    }
    plain
}
