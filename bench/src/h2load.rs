//! HTTP/2: what the load here does not speak is asked by `h2load` of nghttp2, on the load's CPU.
//!
//! It checks statuses and lengths less strictly than the load does, and tells no percentiles. It is dearer than most
//! servers, so it is the bottleneck, which CPU time per request does not mind.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::load::{Plan, Report};
use crate::{Result, limits, machine};

/// The Debian package that has it.
pub const PACKAGE: &str = "nghttp2-client";

/// Asks for so long. Connections are opened anew, which is counted to the server: a few of them beside many thousand requests. Under TLS
/// that is a hand-shake for each, of some 0.3 ms: with less than two seconds they show.
pub fn run(addr: SocketAddr, plan: &Plan, time: Duration) -> Result<Report> {
    let mut h2load = Command::new("h2load");
    h2load.args(["-t1", &format!("-c{}", plan.connections), &format!("-D{}ms", time.as_millis())]);
    h2load.args([&format!("-m{}", plan.streams.unwrap_or(1)), "--npn-list=h2"]);
    let before = machine::children_cpu()?;
    let output = h2load.arg(url(addr, plan)).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let output = output.map_err(|error| format!("cannot start h2load: {error} (apt-get install {PACKAGE})"))?;
    let cpu = machine::children_cpu()?.saturating_sub(before);
    Ok(Report { cpu, ..report(&String::from_utf8_lossy(&output.stdout))? })
}

/// Asks once, by curl, for the body.
pub fn ask(addr: SocketAddr, plan: &Plan) -> Result<Vec<u8>> {
    let version = if plan.tls { "--http2" } else { "--http2-prior-knowledge" };
    let seconds = limits::FETCH_TIMEOUT.as_secs().to_string();
    let written = "\n%{http_version} %{http_code}";
    let output = Command::new("curl")
        .args(["-s", "-k", "--max-time", &seconds, version, "-w", written, &url(addr, plan)])
        .output()
        .map_err(|error| format!("cannot start curl: {error}"))?;
    let mut answer = output.stdout;
    let end = answer.iter().rposition(|byte| *byte == b'\n').ok_or("curl has got no answer")?;
    let said = String::from_utf8_lossy(&answer[end + 1..]).into_owned();
    if said != "2 200" {
        return Err(format!("GET {} answers by {said:?}, and not \"2 200\"", plan.path).into());
    }
    answer.truncate(end);
    Ok(answer)
}

fn url(addr: SocketAddr, plan: &Plan) -> String {
    format!("{}://{addr}{}", if plan.tls { "https" } else { "http" }, plan.path)
}

/// What h2load prints at its end.
fn report(text: &str) -> Result<Report> {
    let after = |word: &str| text.split(word).nth(1).ok_or_else(|| format!("h2load has printed no {word:?}"));
    let before = |word: &str| text.split(word).next().unwrap_or_default();
    let number = |text: &str| text.trim().rsplit(' ').next().unwrap_or_default().parse::<u64>().unwrap_or_default();
    let finished = after("finished in ")?.split(',').next().unwrap_or_default().trim();
    let elapsed = duration(finished).ok_or_else(|| format!("h2load has taken {finished:?}"))?;
    let (good, failed) = (number(before(" 2xx")), number(before(" failed")) + number(before(" errored")));
    let traffic =
        number(after("traffic: ")?.split('(').nth(1).unwrap_or_default().split(')').next().unwrap_or_default());
    if good == 0 {
        return Err("no request was answered".into());
    }
    Ok(Report {
        requests: good,
        errors: failed,
        elapsed,
        latency: Histogram::new(3)?,
        cpu: Duration::ZERO,
        answer_bytes: usize::try_from(traffic / good)?,
    })
}

/// As h2load writes one: `1.00s`, `999.27ms`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        _ => return None,
    };
    Some(Duration::from_secs_f64(digits.parse::<f64>().ok()? * unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_h2load_prints_is_read() {
        let text = "finished in 999.50ms, 187734.00 req/s, 5.37MB/s\n\
                    requests: 187734 total, 187834 started, 187734 done, 187734 succeeded, 0 failed, 3 errored, 0 timeout\n\
                    status codes: 187734 2xx, 0 3xx, 0 4xx, 0 5xx\n\
                    traffic: 5.37MB (5632020) total, 1.43MB (1501872) headers (space savings 90.80%), 2.33MB (2440542) data\n";
        let report = report(text).unwrap();
        assert_eq!((report.requests, report.errors, report.answer_bytes), (187_734, 3, 30));
        assert_eq!(report.elapsed, Duration::from_micros(999_500));
        assert!(super::report("nothing").is_err());
    }
}
