//! The showcase beside every server that one would otherwise choose, and the gateway beside every reverse proxy, in one run.
//!
//! A round is one run of each, and the next round goes the other way about, so that a drift favours no one. A server's cost is
//! divided by ours of the same round, and the median of these ratios is the result. Who cannot do what a discipline
//! asks, or answers something else than ours, is left out of it and named.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use bench::args::Args;
use bench::compare::{Run, Sample};
use bench::load::{Plan, ask};
use bench::server::Server;
use bench::stats::{interval, median};
use bench::{Result, built, h2load, h3load};

const USAGE: &str = "\
usage: contest [--only DISCIPLINE,...] [--against NAME,...] [--rounds 10] [--seconds 1] [--showcase PATH]
               [--gateway PATH] [--server-cpu 0] [--load-cpu 1]
Disciplines: plaintext plaintext-256 pipelined json post close open, over HTTP/2 h2-1x100 h2-10x10 h2-64x1, under TLS tls
tls-bulk tls-h2, over HTTP/3 h3-1x100 h3-10x10 h3-bulk; those over HTTP/2 are asked by h2load. As reverse proxies proxy-64
proxy-512, with two servers behind that share the load's CPU.
Builds the showcase, the gateway and the ceilings, but no peer: those that are missing are named, with the command that builds them.";

/// Written in Rust, in `peers/`.
const PEERS: [&str; 12] = [
    "hyper",
    "axum",
    "actix-web",
    "ntex",
    "may_minihttp",
    "monoio",
    "glommio",
    "compio",
    "quinn",
    "s2n-quic",
    "tokio-quiche",
    "pingora",
];

/// Not written in Rust, with the Debian package that has it; `peers/NAME.sh` starts it.
const OTHERS: [(&str, &str); 3] = [("nginx", "nginx-light"), ("h2o", "h2o"), ("haproxy", "haproxy")];

/// Those of them that are reverse proxies, and those that are nothing else.
const PROXIES: [&str; 3] = ["nginx", "haproxy", "pingora"];
const PROXIES_ONLY: [&str; 2] = ["haproxy", "pingora"];

/// Servers behind a proxy.
const BEHIND: usize = 2;

fn main() -> ExitCode {
    bench::run(contest)
}

/// What is asked of all.
struct Discipline {
    name: &'static str,
    plan: Plan,
    /// Who is asked passes it on.
    is_proxied: bool,
}

struct Peer {
    name: &'static str,
    is_there: bool,
    command: String,
    /// What would bring it.
    remedy: String,
}

struct Contestant {
    name: String,
    command: String,
    is_ceiling: bool,
}

/// What one contestant's runs of a discipline found, by rounds; or why there are none.
struct Entry<'a> {
    contestant: &'a Contestant,
    runs: Result<Vec<Sample>>,
}

fn contest() -> Result<()> {
    let mut args = Args::from_env(USAGE);
    let rounds = args.value("--rounds", 10)?;
    let time = Duration::try_from_secs_f64(args.value("--seconds", 1.0)?)?;
    let only: Option<String> = args.optional("--only")?;
    let against: Option<String> = args.optional("--against")?;
    let (showcase, gateway): (Option<PathBuf>, Option<PathBuf>) =
        (args.optional("--showcase")?, args.optional("--gateway")?);
    let (server_cpu, load_cpu) = (args.value("--server-cpu", 0)?, args.value("--load-cpu", 1)?);
    args.finish()?;
    if server_cpu == load_cpu {
        return Err("the server and the load want a CPU each".into());
    }
    let disciplines = named("discipline", disciplines(), |discipline| discipline.name, only.as_deref())?;
    let peers = named("peer", peers(), |peer| peer.name, against.as_deref())?;
    let (peers, missing): (Vec<_>, Vec<_>) = peers.into_iter().partition(|peer| peer.is_there);
    built::build(
        &Path::new(built::BENCH).join("Cargo.toml"),
        &["--bin=ceiling-uring", "--bin=ceiling-epoll", "--bin=ceiling-quic"],
    )?;
    let (direct, proxied): (Vec<_>, Vec<_>) = disciplines.iter().partition(|discipline| !discipline.is_proxied);
    let showcase = if direct.is_empty() { PathBuf::new() } else { built::showcase(showcase)? };
    let gateway = if proxied.is_empty() { PathBuf::new() } else { built::example("gateway", gateway)? };

    for Peer { name, remedy, .. } in &missing {
        println!("{name} is missing: {remedy}");
    }
    let mut cheaper = Vec::new();
    for discipline in disciplines {
        let mut run = Run { time, plan: discipline.plan.clone(), server_cpu, load_cpu, behind: Vec::new() };
        let ceiling = format!("{} --addr 127.0.0.1:0 --body 0", built::programs(".").join("ceiling-uring").display());
        let behind = (0..if discipline.is_proxied { BEHIND } else { 0 })
            .map(|_| Server::start(&ceiling, false, load_cpu, load_cpu))
            .collect::<Result<Vec<_>>>()?;
        run.behind = behind.iter().map(Server::pid).collect();
        let contestants = match discipline.is_proxied {
            true => proxies(&gateway, &behind, &peers),
            false => contestants(&showcase, &run.plan, &peers),
        };
        let entries = measure(discipline.name, &run, &contestants, rounds)?;
        println!("\n{}", table(&discipline, rounds, time, &entries));
        cheaper.extend(entries.iter().filter_map(|entry| loss(&discipline, entry, &entries)));
    }
    match cheaper.len() {
        0 => println!("No peer was cheaper than ours."),
        _ => println!("Cheaper than ours:\n{}", cheaper.concat()),
    }
    Ok(())
}

/// Those of a list whose names were given, or all of it.
fn named<T>(what: &str, mut all: Vec<T>, name: fn(&T) -> &'static str, names: Option<&str>) -> Result<Vec<T>> {
    let Some(names) = names else { return Ok(all) };
    if let Some(unknown) = names.split(',').find(|wanted| all.iter().all(|one| name(one) != *wanted)) {
        return Err(format!("there is no {what} {unknown}\n{USAGE}").into());
    }
    all.retain(|one| names.split(',').any(|wanted| wanted == name(one)));
    Ok(all)
}

fn disciplines() -> Vec<Discipline> {
    let plain = Plan {
        path: "/plaintext".into(),
        body: 0,
        close: false,
        connections: 64,
        pipeline: 1,
        rate: None,
        streams: None,
        tls: false,
        http3: false,
    };
    let h2 = |connections, streams| Plan { connections, streams: Some(streams), ..plain.clone() };
    let tls = Plan { tls: true, ..plain.clone() };
    let h3 = |connections, streams| Plan { http3: true, ..h2(connections, streams) };
    let direct = [
        ("plaintext", plain.clone()),
        ("plaintext-256", Plan { connections: 256, ..plain.clone() }),
        ("pipelined", Plan { pipeline: 16, ..plain.clone() }),
        ("json", Plan { path: "/json".into(), ..plain.clone() }),
        ("post", Plan { path: "/echo".into(), body: 16 * 1024, ..plain.clone() }),
        ("close", Plan { close: true, ..plain.clone() }),
        ("open", Plan { rate: Some(20_000.0), ..plain.clone() }),
        ("h2-1x100", h2(1, 100)),
        ("h2-10x10", h2(10, 10)),
        ("h2-64x1", h2(64, 1)),
        ("tls", tls.clone()),
        ("tls-bulk", Plan { path: "/bytes/1048576".into(), connections: 8, ..tls.clone() }),
        ("tls-h2", Plan { connections: 10, streams: Some(10), ..tls }),
        ("h3-1x100", h3(1, 100)),
        ("h3-10x10", h3(10, 10)),
        ("h3-bulk", Plan { path: "/bytes/1048576".into(), ..h3(8, 1) }),
    ];
    let proxied = [64, 512].map(|connections| Plan { connections, ..plain.clone() });
    let direct = direct.into_iter().map(|(name, plan)| Discipline { name, plan, is_proxied: false });
    let proxied = ["proxy-64", "proxy-512"].into_iter().zip(proxied);
    direct.chain(proxied.map(|(name, plan)| Discipline { name, plan, is_proxied: true })).collect()
}

fn peers() -> Vec<Peer> {
    let written_in_rust = PEERS.map(|name| {
        let program = built::programs("peers").join(format!("peer-{name}"));
        Peer {
            name,
            is_there: program.exists(),
            command: program.display().to_string(),
            remedy: format!("cargo build --release --manifest-path peers/Cargo.toml -p peer-{name}"),
        }
    });
    let others = OTHERS.map(|(name, package)| {
        let version = Command::new(name).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
        Peer {
            name,
            is_there: version.is_ok_and(|status| status.success()),
            command: format!("{}/peers/{name}.sh", built::BENCH),
            remedy: format!("apt-get install {package}"),
        }
    });
    written_in_rust.into_iter().chain(others).collect()
}

/// The showcase first. The ceilings have to be told what they will be asked.
fn contestants(showcase: &Path, plan: &Plan, peers: &[Peer]) -> Vec<Contestant> {
    let contestant =
        |name: &str, command: String, is_ceiling| Contestant { name: name.to_owned(), command, is_ceiling };
    let listens = if plan.is_secure() { "--addr 127.0.0.1:0 --tls-addr 127.0.0.1:0" } else { "--addr 127.0.0.1:0" };
    let ours = |backend: &str| format!("{} {listens} --shards 1 --backend {backend}", showcase.display());
    let ceiling = |name: &str| {
        let close = if plan.close { " --close" } else { "" };
        format!("{} --addr 127.0.0.1:0 --body {}{close}", built::programs(".").join(name).display(), plan.body)
    };
    let mut all =
        vec![contestant("showcase", ours("uring"), false), contestant("showcase on epoll", ours("epoll"), false)];
    if plan.http3 {
        let body = plan.path.strip_prefix("/bytes/").unwrap_or_default();
        let command =
            format!("{} --addr 127.0.0.1:0 --bytes 0{body}", built::programs(".").join("ceiling-quic").display());
        all.push(contestant("(ceiling-quic)", command, true));
    } else if !plan.is_for_h2load() && !plan.tls {
        all.push(contestant("(ceiling-uring)", ceiling("ceiling-uring"), true));
        all.push(contestant("(ceiling-epoll)", ceiling("ceiling-epoll"), true));
    }
    // A peer that does not know the word ends, and is left out.
    let protocol = match plan {
        Plan { http3: true, .. } => " --h3",
        Plan { tls: true, .. } => " --tls",
        Plan { streams: Some(_), .. } => " --h2",
        _ => "",
    };
    let command = |peer: &Peer| format!("{} --addr 127.0.0.1:0{protocol}", peer.command);
    let servers = peers.iter().filter(|peer| !PROXIES_ONLY.contains(&peer.name));
    all.extend(servers.map(|peer| contestant(peer.name, command(peer), false)));
    all
}

/// The gateway first.
fn proxies(gateway: &Path, behind: &[Server], peers: &[Peer]) -> Vec<Contestant> {
    let addrs: Vec<String> = behind.iter().map(|server| server.addr.to_string()).collect();
    let listens = format!("--addr 127.0.0.1:0 --behind {}", addrs.join(","));
    let ours = |backend: &str| format!("{}/peers/gateway.sh {} {backend} {listens}", built::BENCH, gateway.display());
    let peers = peers.iter().filter(|peer| PROXIES.contains(&peer.name));
    let peers = peers.map(|peer| (peer.name, format!("{} {listens}", peer.command)));
    [("gateway", ours("uring")), ("gateway on epoll", ours("epoll"))]
        .into_iter()
        .chain(peers)
        .map(|(name, command)| Contestant { name: name.to_owned(), command, is_ceiling: false })
        .collect()
}

/// All rounds of a discipline.
fn measure<'a>(name: &str, run: &Run, contestants: &'a [Contestant], rounds: usize) -> Result<Vec<Entry<'a>>> {
    let mut body = None;
    let mut entries = Vec::with_capacity(contestants.len());
    for contestant in contestants {
        let fit = fits(run, contestant, &mut body);
        if entries.is_empty() {
            fit.as_ref().map_err(ToString::to_string)?; // there is nothing to compare with
        }
        entries.push(Entry { contestant, runs: fit.map(|()| Vec::with_capacity(rounds)) });
    }
    for round in 0..rounds {
        let mut order: Vec<&mut Entry<'_>> = entries.iter_mut().collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for entry in order {
            let Ok(runs) = &mut entry.runs else { continue };
            match run.measure(&entry.contestant.command) {
                Ok(sample) => runs.push(sample),
                Err(error) => entry.runs = Err(error),
            }
        }
        entries[0].runs.as_ref().map_err(ToString::to_string)?;
        eprintln!("{name}: round {} of {rounds}", round + 1);
    }
    Ok(entries)
}

/// Whether a contestant answers what the first one answers; `body` is that answer once it is known.
fn fits(run: &Run, contestant: &Contestant, body: &mut Option<Vec<u8>>) -> Result<()> {
    let server = Server::start(&contestant.command, run.plan.is_secure(), run.server_cpu, run.load_cpu)?;
    let answer = if run.plan.http3 {
        h3load::ask(server.addr, &run.plan)?
    } else if run.plan.is_for_h2load() {
        h2load::ask(server.addr, &run.plan)?
    } else {
        ask(server.addr, &run.plan)?.body
    };
    if *body.get_or_insert_with(|| answer.clone()) == answer { Ok(()) } else { Err("it answers something else".into()) }
}

impl Entry<'_> {
    fn runs(&self) -> &[Sample] {
        self.runs.as_deref().unwrap_or_default()
    }

    fn median(&self, value: impl Fn(&Sample) -> f64) -> f64 {
        median(&self.runs().iter().map(value).collect::<Vec<_>>())
    }

    /// Of all runs together, since each counts it coarsely.
    fn user_part(&self) -> f64 {
        let (user, system): (Duration, Duration) =
            self.runs().iter().map(Sample::ticks).fold(Default::default(), |sum, run| (sum.0 + run.0, sum.1 + run.1));
        if (user + system).is_zero() { 0.0 } else { user.as_secs_f64() / (user + system).as_secs_f64() }
    }

    /// To the first entry's cost, round by round.
    fn ratios(&self, entries: &[Entry<'_>]) -> Vec<f64> {
        let costs = |entry: &Entry<'_>| entry.runs().iter().map(Sample::cpu_micros).collect::<Vec<_>>();
        costs(self).iter().zip(costs(&entries[0])).map(|(cost, showcase)| cost / showcase).collect()
    }
}

/// In Markdown, cheapest first.
fn table(discipline: &Discipline, rounds: usize, time: Duration, entries: &[Entry<'_>]) -> String {
    let mut text = format!("### {}: {}, {rounds} rounds of {time:?}\n\n", discipline.name, discipline.plan);
    text += "| server | CPU us/request | user | system | to ours (95 %) | requests/s | p50 us | p99 us | p99.9 us \
             | answer bytes | busy % | errors |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n";
    let mut order: Vec<&Entry<'_>> = entries.iter().filter(|entry| entry.runs.is_ok()).collect();
    order.sort_by(|a, b| median(&a.ratios(entries)).total_cmp(&median(&b.ratios(entries))));
    for entry in order {
        let cpu = entry.median(Sample::cpu_micros);
        let user = cpu * entry.user_part();
        let system = cpu - user;
        let ratios = entry.ratios(entries);
        let mut ratio = format!("{:.3}", median(&ratios));
        if let Some((low, high)) = interval(&ratios) {
            let _ = write!(ratio, " ({low:.3} to {high:.3})");
        }
        let _ = writeln!(
            text,
            "| {} | {cpu:.2} | {user:.2} | {system:.2} | {ratio} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {} |",
            entry.contestant.name,
            entry.median(Sample::rate),
            entry.median(|run| run.latency_micros(0.5)),
            entry.median(|run| run.latency_micros(0.99)),
            entry.median(|run| run.latency_micros(0.999)),
            entry.median(|run| run.answer_bytes() as f64),
            100.0 * entry.median(Sample::busy),
            entry.runs().iter().map(Sample::errors).sum::<u64>(),
        );
    }
    text.push('\n');
    for entry in entries {
        if let Err(error) = &entry.runs {
            let _ = writeln!(text, "Left out: {}: {error}.", entry.contestant.name);
        }
    }
    let disturbed: Vec<f64> = entries.iter().flat_map(|entry| entry.runs().iter().map(Sample::disturbed)).collect();
    let most = disturbed.iter().copied().fold(0.0, f64::max);
    let _ = writeln!(
        text,
        "Others and the host took {:.0} % of a CPU in the middle run and {:.0} % in the worst.",
        100.0 * median(&disturbed),
        100.0 * most
    );
    text
}

/// A line for a peer that is cheaper than ours.
fn loss(discipline: &Discipline, entry: &Entry<'_>, entries: &[Entry<'_>]) -> Option<String> {
    let ratios = entry.ratios(entries);
    let ratio = median(&ratios);
    let sure = match interval(&ratios) {
        Some((_, high)) if high < 1.0 => "surely",
        _ => "not surely",
    };
    let is_ours = ["showcase", "gateway"].iter().any(|ours| entry.contestant.name.starts_with(ours));
    let rival = !entry.contestant.is_ceiling && !is_ours;
    (rival && ratio < 1.0).then(|| format!("- {}: {}, {ratio:.3}, {sure}\n", discipline.name, entry.contestant.name))
}
