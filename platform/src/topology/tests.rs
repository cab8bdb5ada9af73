//! Machines as trees of files, and where shards go on them.

use super::{Cpu, CpuId, Error, SHARD_COUNT_MAX, Topology, list, pin};
use std::fs;
use std::path::Path;
use std::thread;

type Files<'a> = &'a [(&'a str, &'a str)];

/// Version 2 as most containers see it: a namespace whose root is the container's own group.
const MOUNT_V2: (&str, &str) = (
    "proc/self/mountinfo",
    "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n\
     31 22 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
);

/// Version 1 on a host, with `cpu` and `cpuacct` in one hierarchy, and version 2 beside it for systemd's own use.
const MOUNT_V1: (&str, &str) = (
    "proc/self/mountinfo",
    "30 22 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
     31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
     33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n\
     34 30 0:30 / /sys/fs/cgroup/cpuset rw shared:11 - cgroup cgroup rw,cpuset\n",
);

fn read(allowed: &[usize], files: Files) -> Topology {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let allowed: Vec<_> = allowed.iter().copied().map(CpuId).collect();
    Topology::read_below(root.path(), &allowed)
}

/// On eight CPUs, these files mean this quota and this number of shards.
#[track_caller]
fn check_quota(name: &str, files: &[(&str, &str)], quota: Option<f64>, shards: usize) {
    let topology = read(&[0, 1, 2, 3, 4, 5, 6, 7], files);
    assert_eq!(topology.quota, quota, "{name}");
    let placement = topology.place(None, false).unwrap();
    assert_eq!(placement.shards.len(), shards, "{name}");
    assert_eq!(placement.may_spin, quota.is_none_or(|quota| quota >= shards as f64), "{name}");
}

/// On this machine, shards are placed so, and the start message says so.
#[track_caller]
fn check_place(
    topology: &Topology,
    requested: Option<usize>,
    oversubscribe: bool,
    shards: &[Option<usize>],
    why: &str,
) {
    let placement = topology.place(requested, oversubscribe).unwrap();
    let shards: Vec<_> = shards.iter().map(|cpu| cpu.map(CpuId)).collect();
    assert_eq!(placement.shards, shards);
    assert_eq!(placement.why, why);
}

#[test]
fn a_container_gets_a_shard_for_each_cpu_it_may_use() {
    // 64 CPUs, of which the container's cpuset allows two; the files tell of all of them.
    let topology = read(
        &[17, 49],
        &[
            ("proc/self/cgroup", "0::/\n"),
            MOUNT_V2,
            ("sys/fs/cgroup/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/cpuset.cpus.effective", "17,49\n"),
            ("sys/devices/system/cpu/online", "0-63\n"),
            ("sys/devices/system/cpu/cpu17/topology/core_cpus_list", "17\n"),
            ("sys/devices/system/cpu/cpu49/topology/core_cpus_list", "49\n"),
            ("sys/devices/system/node/node0/cpulist", "0-31\n"),
            ("sys/devices/system/node/node1/cpulist", "32-63\n"),
        ],
    );
    let on = |id, node| Cpu { id: CpuId(id), core: CpuId(id), node };
    assert_eq!(topology, Topology { cpus: vec![on(17, 0), on(49, 1)], quota: None });
    check_place(
        &topology,
        None,
        false,
        &[Some(17), Some(49)],
        "2 shards on CPUs 17,49: one for each CPU that may be used",
    );
}

#[test]
fn the_smallest_quota_on_the_way_up_decides() {
    let in_root = ("proc/self/cgroup", "0::/\n");
    let nested = ("proc/self/cgroup", "0::/kubepods/pod 7/web\n");
    let v1 =
        ("proc/self/cgroup", "5:cpuset:/\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/docker/abc\n");

    check_quota("no files at all", &[], None, 8);
    check_quota("no control group", &[("proc/self/cgroup", "")], None, 8);
    check_quota("no mount", &[in_root, ("sys/fs/cgroup/cpu.max", "100000 100000\n")], None, 8);
    check_quota("the host's root, which has no cpu.max", &[in_root, MOUNT_V2], None, 8);
    check_quota("no limit", &[in_root, MOUNT_V2, ("sys/fs/cgroup/cpu.max", "max 100000\n")], None, 8);
    check_quota("150 %", &[in_root, MOUNT_V2, ("sys/fs/cgroup/cpu.max", "150000 100000\n")], Some(1.5), 2);
    check_quota("exactly 3", &[in_root, MOUNT_V2, ("sys/fs/cgroup/cpu.max", "30000 10000\n")], Some(3.0), 3);
    check_quota("a tenth", &[in_root, MOUNT_V2, ("sys/fs/cgroup/cpu.max", "10000 100000\n")], Some(0.1), 1);
    check_quota("more than there is", &[in_root, MOUNT_V2, ("sys/fs/cgroup/cpu.max", "990000 10000\n")], Some(99.0), 8);
    check_quota(
        "nested, the middle one is the smallest",
        &[
            nested,
            MOUNT_V2,
            ("sys/fs/cgroup/kubepods/cpu.max", "600000 100000\n"),
            ("sys/fs/cgroup/kubepods/pod 7/cpu.max", "200000 100000\n"),
            ("sys/fs/cgroup/kubepods/pod 7/web/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/kubepods/pod 8/cpu.max", "100000 100000\n"),
        ],
        Some(2.0),
        2,
    );
    check_quota(
        "nested, and the group itself has been removed",
        &[nested, MOUNT_V2, ("sys/fs/cgroup/kubepods/cpu.max", "400000 100000\n")],
        Some(4.0),
        4,
    );
    check_quota(
        "version 1",
        &[
            v1,
            MOUNT_V1,
            ("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "250000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ],
        Some(2.5),
        3,
    );
    check_quota(
        "version 1 without a limit",
        &[
            v1,
            MOUNT_V1,
            ("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n"),
        ],
        None,
        8,
    );
    check_quota(
        "version 1 in a container that sees the host's paths but only its own part of the tree",
        &[
            v1,
            (
                "proc/self/mountinfo",
                "33 30 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n",
            ),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "10000\n"),
        ],
        Some(5.0),
        5,
    );
    check_quota(
        "a namespace entered from outside: what is mounted is not about us",
        &[
            ("proc/self/cgroup", "0::/../elsewhere\n"),
            MOUNT_V2,
            ("sys/fs/cgroup/cpu.max", "100000 100000\n"),
            ("sys/fs/elsewhere/cpu.max", "100000 100000\n"),
        ],
        None,
        8,
    );
    check_quota(
        "a tree mounted from above the namespace: our place in it is unknown",
        &[
            in_root,
            ("proc/self/mountinfo", "31 22 0:27 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
            ("sys/fs/cgroup/cpu.max", "100000 100000\n"),
        ],
        None,
        8,
    );
    check_quota(
        "a mount point with a space",
        &[
            in_root,
            ("proc/self/mountinfo", "31 22 0:27 / /my\\040groups rw - cgroup2 cgroup2 rw\n"),
            ("my groups/cpu.max", "100000 100000\n"),
        ],
        Some(1.0),
        1,
    );
}

#[test]
fn what_cannot_be_understood_limits_nothing() {
    for garbage in ["", "\n", "max", "100000", "-5 100000", "0 100000", "100000 0", "1e5 100000", "a b", "NaN NaN", "ü"]
    {
        let files = [("proc/self/cgroup", "0::/\n"), MOUNT_V2, ("sys/fs/cgroup/cpu.max", garbage)];
        check_quota(&format!("cpu.max is {garbage:?}"), &files, None, 8);
    }
    for garbage in ["", ":", "::", "0:", "0::\n", "::::\n0", "\u{0}", "0:cpu", "cpu", "7:cpu:"] {
        let files = [("proc/self/cgroup", garbage), MOUNT_V2, ("sys/fs/cgroup/x/cpu.max", "1 1\n")];
        check_quota(&format!("cgroup is {garbage:?}"), &files, None, 8);
    }
    for garbage in
        ["", " - ", " - cgroup2", "31 22 0:27 - cgroup2 x rw", "31 22 0:27 / - cgroup cgroup", "a\\", "- - -"]
    {
        let files = [("proc/self/cgroup", "0::/\n"), ("proc/self/mountinfo", garbage), ("cpu.max", "1 1\n")];
        check_quota(&format!("mountinfo is {garbage:?}"), &files, None, 8);
    }
    for garbage in ["", "x", "3-1", "1-", "-", "0-x", "1,,", "9", "0-99999999999999999999"] {
        let topology = read(
            &[0, 1],
            &[
                ("sys/devices/system/cpu/cpu0/topology/core_cpus_list", garbage),
                ("sys/devices/system/node/nodex/cpulist", "0-1"),
                ("sys/devices/system/node/node/cpulist", "0-1"),
                ("sys/devices/system/node/node3/cpulist", garbage),
            ],
        );
        assert_eq!(topology.place(None, false).unwrap().shards.len(), 2, "{garbage:?}");
        assert_eq!(topology.cpus[0].core, CpuId(0), "{garbage:?}");
    }
    let far = read(&[5], &[("sys/devices/system/node/node1/cpulist", "0-18446744073709551615")]);
    assert_eq!(far.cpus[0].node, 1, "an absurd range is cut, not built");
}

/// Two nodes of two cores with two hardware threads each. `numbering` gives the CPUs of each core in turn.
fn two_nodes(numbering: [[usize; 2]; 4], file: &str) -> Topology {
    let mut files = Vec::new();
    for siblings in numbering {
        for cpu in siblings {
            let path = format!("sys/devices/system/cpu/cpu{cpu}/topology/{file}");
            files.push((path, format!("{},{}\n", siblings[0], siblings[1])));
        }
    }
    for (node, cores) in numbering.chunks(2).enumerate() {
        let cpus: Vec<_> = cores.iter().flatten().map(usize::to_string).collect();
        files.push((format!("sys/devices/system/node/node{node}/cpulist"), cpus.join(",")));
    }
    let files: Vec<_> = files.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect();
    read(&[0, 1, 2, 3, 4, 5, 6, 7], &files)
}

#[test]
fn cores_come_before_their_second_threads_and_one_node_before_the_next() {
    // Siblings numbered far apart, as on most servers.
    let apart = two_nodes([[0, 4], [1, 5], [2, 6], [3, 7]], "core_cpus_list");
    check_place(&apart, Some(1), false, &[Some(0)], "1 shard on CPU 0: as asked for, where 8 may be used");
    let all = [0, 1, 2, 3, 4, 5, 6, 7].map(Some);
    check_place(&apart, None, false, &all, "8 shards on CPUs 0-7: one for each CPU that may be used");

    // Siblings numbered side by side, in the older file.
    let beside = two_nodes([[0, 1], [2, 3], [4, 5], [6, 7]], "thread_siblings_list");
    let five = [0, 2, 4, 6, 1].map(Some);
    check_place(&beside, Some(5), false, &five, "5 shards on CPUs 0,2,4,6,1: as asked for, where 8 may be used");

    // Nodes numbered in turn: the first node is filled first all the same.
    let striped = two_nodes([[0, 4], [2, 6], [1, 5], [3, 7]], "core_cpus_list");
    let all = [0, 2, 1, 3, 4, 6, 5, 7].map(Some);
    check_place(&striped, None, false, &all, "8 shards on CPUs 0,2,1,3-4,6,5,7: one for each CPU that may be used");
}

#[test]
fn a_core_whose_first_thread_is_not_ours_still_counts_as_a_core() {
    let siblings = |cpu: &str| format!("sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list");
    let (second, third, seventh) = (siblings("2"), siblings("3"), siblings("7"));
    // Cores {0,2} {3,7}: CPU 0 is taken from us.
    let topology = read(&[2, 3, 7], &[(&second, "0,2\n"), (&third, "3,7\n"), (&seventh, "3,7\n")]);
    let shards = [Some(2), Some(3)];
    check_place(&topology, Some(2), false, &shards, "2 shards on CPUs 2-3: as asked for, where 3 may be used");
}

#[test]
fn the_start_message_tells_of_the_quota() {
    let mut topology = read(&[0, 1, 2, 3], &[]);
    topology.quota = Some(4.0 / 3.0);
    let two = [Some(0), Some(1)];
    check_place(&topology, None, false, &two, "2 shards on CPUs 0-1: 4 may be used, with a quota of 1.33 CPUs");
    let three = [Some(0), Some(1), Some(2)];
    let why = "3 shards on CPUs 0-2: as asked for, where 4 may be used, with a quota of 1.33 CPUs";
    check_place(&topology, Some(3), false, &three, why);
    assert!(!topology.place(Some(3), false).unwrap().may_spin, "spinning would eat the quota");
    assert!(topology.place(Some(1), false).unwrap().may_spin);
}

#[test]
fn more_shards_than_cpus_must_be_asked_for_and_float() {
    let topology = read(&[0, 1], &[]);
    let error = topology.place(Some(3), false).unwrap_err();
    assert_eq!(error, Error::MoreShardsThanCpus { requested: 3, cpus: 2 });
    assert_eq!(
        error.to_string(),
        "3 shards were asked for, but this process may use only 2 CPUs.\n\
         Ask for at most 2, allow more CPUs, or set oversubscribe to let shards share CPUs, unpinned."
    );
    let why = "3 shards, not pinned: as asked for, where 2 may be used";
    check_place(&topology, Some(3), true, &[None, None, None], why);
    assert!(!topology.place(Some(3), true).unwrap().may_spin);

    let two = [Some(0), Some(1)];
    check_place(&topology, Some(2), true, &two, "2 shards on CPUs 0-1: as asked for, where 2 may be used");
    check_place(&topology, None, true, &two, "2 shards on CPUs 0-1: one for each CPU that may be used");
}

#[test]
fn absurd_numbers_of_shards_are_refused_in_words() {
    let topology = read(&[0, 1], &[]);
    for oversubscribe in [false, true] {
        let error = topology.place(Some(0), oversubscribe).unwrap_err();
        assert_eq!(error, Error::NoShards);
        assert!(error.to_string().starts_with("0 shards were asked for"));
        let requested = SHARD_COUNT_MAX + 1;
        assert_eq!(topology.place(Some(requested), oversubscribe), Err(Error::TooManyShards { requested }));
    }
    assert_eq!(topology.place(Some(SHARD_COUNT_MAX), true).unwrap().shards.len(), SHARD_COUNT_MAX);
}

#[test]
fn lists_show_runs_as_ranges() {
    for (cpus, expect) in [(&[3][..], "3"), (&[0, 1], "0-1"), (&[0, 2, 3, 4, 1], "0,2-4,1"), (&[1, 0], "1,0")] {
        assert_eq!(list(&cpus.iter().copied().map(CpuId).collect::<Vec<_>>()), expect);
    }
}

/// Whether this machine tells which CPUs a thread may use. Elsewhere pinning is a hint, if anything.
fn pinning_shows() -> bool {
    cfg!(target_os = "linux")
}

#[test]
fn this_machine_can_be_read_and_its_cpus_pinned_to() {
    let placement = Topology::read().place(None, false).unwrap();
    for cpu in placement.shards.into_iter().map(Option::unwrap).filter(|_| pinning_shows()) {
        thread::scope(|scope| {
            scope.spawn(|| {
                pin(cpu).unwrap();
                assert_eq!(Topology::read().cpus.iter().map(|cpu| cpu.id).collect::<Vec<_>>(), [cpu]);
            });
        });
    }
}

#[test]
fn a_cpu_that_is_not_there_cannot_be_pinned_to() {
    let last = if pinning_shows() { SHARD_COUNT_MAX - 1 } else { SHARD_COUNT_MAX };
    for cpu in [last, SHARD_COUNT_MAX, usize::MAX] {
        let error = thread::scope(|scope| scope.spawn(|| pin(CpuId(cpu))).join().unwrap()).unwrap_err();
        assert_eq!(error, Error::CannotPin(CpuId(cpu)));
    }
}

#[test]
fn a_root_that_is_not_there_is_a_machine_without_files() {
    let topology = Topology::read_below(Path::new("/nonexistent"), &[CpuId(3)]);
    assert_eq!(topology, Topology { cpus: vec![Cpu { id: CpuId(3), core: CpuId(3), node: 0 }], quota: None });
}
