//! A process that has no descriptor left, and has them again.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shardwise_platform::{Error, Op, OpenFile, Outcome};

use crate::bed::Bed;
use crate::host::open_descriptors;

/// EMFILE on accept: the error has its name, the connection waits, and is there when descriptors are.
pub(crate) fn out_of_descriptors_and_back(bed: &mut Bed) {
    let (listener, address) = bed.listener();
    let client = bed.stream_socket(address).unwrap();
    assert!(matches!(bed.run(Op::Connect { socket: client, peer: address }), Ok(Outcome::Connected)));
    bed.send(client, b"I wait");

    let none = NoDescriptors::new();
    for _ in 0..3 {
        let accept = bed.start(Op::Accept { listener });
        assert_eq!(bed.end(accept).unwrap_err(), Error::OutOfDescriptors);
    }
    assert_eq!(bed.stream_socket(address).unwrap_err(), Error::OutOfDescriptors);
    let path = "/dev/null".into();
    let file = Box::new(OpenFile { path, beneath: None, read: true, write: false, create: false, truncate: false });
    assert_eq!(bed.run(Op::Open { file }).unwrap_err(), Error::OutOfDescriptors);
    drop(none);

    let accept = bed.start(Op::Accept { listener });
    let Outcome::Accepted(server) = bed.part(&accept) else { panic!("an accept gives connections") };
    let at_server = bed.receive(server);
    assert_eq!(bed.read(&at_server, 6), b"I wait");
    bed.abandon(at_server);
    bed.abandon(accept);
    bed.close_all([listener, client, server]);
}

/// Lowers the limit of descriptors to what is open, and raises it again when dropped.
struct NoDescriptors {
    old: Rlimit,
    _fill: Vec<std::fs::File>,
}

impl NoDescriptors {
    fn new() -> Self {
        let old = getrlimit(Resource::Nofile);
        let limit = 40 + open_descriptors() as u64;
        setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum: old.maximum })
            .expect("a limit can be lowered");
        let fill = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).take(1000).collect();
        NoDescriptors { old, _fill: fill }
    }
}

impl Drop for NoDescriptors {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.old).expect("the old limit");
    }
}
