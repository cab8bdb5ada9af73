//! Certificates that change while shards serve, on a simulated machine.

use platform::sim::{Machine, Plan};
use rustls::HandshakeKind;
use rustls::client::ClientConfig;
use rustls::pki_types::CertificateDer;
use shards::Simulation;

use super::super::testing::{Pair, client, shake};
use super::*;

const SHARDS: usize = 3;

/// What one shard has come to.
type Opened = Result<(Credentials, Arc<NetStats>), SetupError>;

/// A machine with two files, and shards that have opened them.
struct Served {
    simulation: Simulation,
    opened: Rc<RefCell<Vec<Option<Opened>>>>,
    client: Rc<RefCell<Option<Arc<ClientConfig>>>>,
}

impl Served {
    fn start(tls: impl Fn() -> Tls + 'static, files: &[(&str, &[u8])]) -> Served {
        let mut simulation = Simulation::with_plan(7, Plan::default(), platform::Config::default());
        write(simulation.machine(), files);
        let opened = Rc::new(RefCell::new((0..SHARDS).map(|_| None).collect::<Vec<_>>()));
        let kept = Rc::clone(&opened);
        simulation.start(SHARDS, async move |shard: Shard| {
            let stats = Arc::<NetStats>::default();
            let found = tls().open(&shard, true, Arc::clone(&stats)).await.map(|credentials| (credentials, stats));
            kept.borrow_mut()[shard.number()] = Some(found);
            shard.drained().await;
            kept.borrow_mut()[shard.number()] = None;
            Ok::<_, String>(())
        });
        Served { simulation, opened, client: Rc::default() }
    }

    fn write(&self, files: &[(&str, &[u8])]) {
        write(self.simulation.machine(), files);
    }

    fn pass(&mut self, time: Duration) {
        self.simulation.run_for(time);
    }

    fn error(&self, number: usize) -> SetupError {
        match self.opened.borrow()[number].as_ref().expect("the shard has opened it") {
            Ok(_) => panic!("shard {number} has credentials"),
            Err(error) => error.clone(),
        }
    }

    fn stats(&self, number: usize) -> Arc<NetStats> {
        Arc::clone(&self.opened.borrow()[number].as_ref().unwrap().as_ref().expect("credentials").1)
    }

    /// What each shard shows to the same client, and how the hand-shakes go.
    fn shown(&mut self) -> Vec<(CertificateDer<'static>, HandshakeKind)> {
        let configs: Vec<_> = (0..SHARDS)
            .map(|number| self.opened.borrow()[number].as_ref().unwrap().as_ref().expect("credentials").0.config())
            .collect();
        let known = Rc::clone(&self.client);
        self.simulation.run(async move |shard| {
            let client = known.borrow_mut().get_or_insert_with(|| Arc::new(client(&shard))).clone();
            let shake = |config| shake(&client, config, "a.example").unwrap();
            configs.into_iter().map(shake).map(|shaken| (shaken.certificate, shaken.kind)).collect()
        })
    }
}

fn write(machine: &Machine, files: &[(&str, &[u8])]) {
    for (path, bytes) in files {
        machine.write_file(path, *bytes);
    }
}

const LOOK: Duration = Duration::from_secs(6);

#[test]
fn what_one_shard_reads_all_have_and_each_its_own() {
    let pair = Pair::new(&["a.example"]);
    let files = [("/cert.pem", &pair.certificate_pem()[..]), ("/key.pem", &pair.key_pem()[..])];
    let mut served = Served::start(|| Tls::new("/cert.pem", "/key.pem"), &files);
    served.pass(LOOK);
    // The first hand-shake's ticket is taken by the other shards, whose secret is the same.
    use HandshakeKind::{Full, Resumed};
    let certificate = &pair.certificate;
    assert_eq!(served.shown(), [Full, Resumed, Resumed].map(|kind| (certificate.clone(), kind)));
    for number in 0..SHARDS {
        let config = |number: usize| served.opened.borrow()[number].as_ref().unwrap().as_ref().unwrap().0.config();
        assert!(!Arc::ptr_eq(&config(number), &config((number + 1) % SHARDS)));
        assert_eq!(served.stats(number).tls_not_after.get(), 1_893_542_400);
    }
}

#[test]
fn a_self_signed_one_is_the_same_on_all_shards() {
    let mut served = Served::start(|| Tls::self_signed([]), &[]);
    served.pass(LOOK);
    let shown = served.shown();
    assert!(shown.iter().all(|(certificate, _)| *certificate == shown[0].0));
}

#[test]
fn new_files_hold_for_new_connections_and_bad_ones_change_nothing() {
    let (old, new) = (Pair::new(&["a.example"]), Pair::new(&["a.example"]));
    let files = [("/cert.pem", &old.certificate_pem()[..]), ("/key.pem", &old.key_pem()[..])];
    let mut served = Served::start(|| Tls::new("/cert.pem", "/key.pem"), &files);
    served.pass(LOOK);
    let certificates = |served: &mut Served| served.shown().into_iter().map(|(one, _)| one).collect::<Vec<_>>();
    let counts = |served: &Served| (served.stats(0).tls_reloads.get(), served.stats(0).tls_reloads_refused.get());
    let before = served.opened.borrow()[1].as_ref().unwrap().as_ref().unwrap().0.config();
    // Half of the new one, then all of it without its key, each for several looks: said once.
    let certificate = new.certificate_pem();
    served.write(&[("/cert.pem", &certificate[..certificate.len() / 2])]);
    served.pass(3 * LOOK);
    assert_eq!(counts(&served), (0, 1));
    served.write(&[("/cert.pem", &certificate)]);
    served.pass(3 * LOOK);
    assert_eq!(counts(&served), (0, 2));
    assert_eq!(certificates(&mut served), vec![old.certificate.clone(); SHARDS]);
    served.write(&[("/key.pem", &new.key_pem())]);
    served.pass(LOOK);
    assert_eq!(counts(&served), (1, 2));
    *served.client.borrow_mut() = None;
    assert_eq!(certificates(&mut served), vec![new.certificate.clone(); SHARDS]);
    // A connection that had begun keeps what it had.
    let kept = served.simulation.run(async move |shard| shake(&Arc::new(client(&shard)), before, "a.example").unwrap());
    assert_eq!(kept.certificate, old.certificate);
    // And back, by what was bad at first.
    served.write(&files);
    served.pass(LOOK);
    assert_eq!(counts(&served), (2, 2));
}

#[test]
fn files_are_looked_at_when_somebody_asks() {
    let (old, new) = (Pair::new(&["a.example"]), Pair::new(&["a.example"]));
    let files = [("/cert.pem", &old.certificate_pem()[..]), ("/key.pem", &old.key_pem()[..])];
    let tls = || Tls::new("/cert.pem", "/key.pem").look_every(Duration::from_secs(3600));
    let mut served = Served::start(tls, &files);
    served.pass(LOOK);
    let asked = |served: &mut Served| {
        let remote = served.opened.borrow()[1].as_ref().unwrap().as_ref().unwrap().0.0.shard.remote();
        let answer = Rc::new(RefCell::new(None));
        // From a shard that is not the one that reads.
        let (sender, receiver) = std::sync::mpsc::channel();
        let ask = move |shard: &Shard| {
            let (shard, sender) = (shard.clone(), sender.clone());
            let asking = shard.clone();
            shard.spawn(async move { sender.send(reload(&asking).await) }).unwrap().detach();
        };
        remote.send(ask).unwrap();
        served.pass(LOOK);
        *answer.borrow_mut() = receiver.try_recv().ok();
        answer.take().expect("an answer")
    };
    assert_eq!(asked(&mut served), Ok(false));
    served.write(&[("/cert.pem", &new.certificate_pem())]);
    assert!(asked(&mut served).unwrap_err().to_string().contains("/key.pem does not belong"));
    served.write(&[("/key.pem", &new.key_pem())]);
    assert_eq!(asked(&mut served), Ok(true));
    let shown = served.shown();
    assert!(shown.iter().all(|(certificate, _)| *certificate == new.certificate));
    assert_eq!((served.stats(0).tls_reloads.get(), served.stats(0).tls_reloads_refused.get()), (1, 1));
}

#[test]
fn what_cannot_be_read_is_the_same_error_everywhere() {
    let pair = Pair::new(&["a.example"]);
    let mut served = Served::start(|| Tls::new("/cert.pem", "/key.pem"), &[("/cert.pem", &pair.certificate_pem())]);
    served.pass(LOOK);
    let error = served.error(0);
    assert!(error.to_string().contains("/key.pem cannot be read"), "{error}");
    assert!((0..SHARDS).all(|number| served.error(number) == error));
    let large = vec![b'x'; crate::limits::FILE_BYTES_MAX + 1];
    let mut served = Served::start(|| Tls::new("/cert.pem", "/key.pem"), &[("/cert.pem", &large)]);
    served.pass(LOOK);
    assert!(served.error(2).to_string().contains("/cert.pem is too large"));
}

#[test]
fn nothing_is_left_when_credentials_are_dropped() {
    let pair = Pair::new(&["a.example"]);
    let files = [("/cert.pem", &pair.certificate_pem()[..]), ("/key.pem", &pair.key_pem()[..])];
    let mut served = Served::start(|| Tls::new("/cert.pem", "/key.pem"), &files);
    served.pass(3 * LOOK);
    served.opened.borrow_mut().iter_mut().for_each(|one| *one = None);
    // It would not come to an end if anyone still looked at files.
    served.simulation.run_to_end();
    assert_eq!(served.simulation.machine().descriptors(), 0);
}

#[test]
fn who_waits_for_the_shard_that_reads_ends_with_the_drain() {
    let start = |missing: usize| {
        let mut simulation = Simulation::new(1);
        let program = simulation.start(2, async move |shard: Shard| {
            if shard.number() == missing {
                return Ok(());
            }
            Tls::self_signed([]).open(&shard, true, Arc::default()).await.map(drop)
        });
        simulation.run_for(LOOK);
        (simulation, program)
    };
    let (mut simulation, program) = start(READER);
    assert!(!program.has_ended());
    program.drain();
    simulation.run_for(LOOK);
    assert!(matches!(&program.results()[1], Some(Err(_))), "{:?}", program.results());
    // The one that reads learns by itself that another has ended.
    let (_simulation, program) = start(1);
    assert!(matches!(&program.results()[READER], Some(Err(_))), "{:?}", program.results());
}
