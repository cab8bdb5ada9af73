//! Reads counters from a server's Prometheus page, so that a figure can say what the server counted between two
//! moments: `sum` before, `sum` after, and the difference.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::{Result, limits};

/// One reading of the page.
#[derive(Debug)]
pub struct Metrics {
    page: String,
}

impl Metrics {
    /// Fetches `http://ADMIN/metrics`.
    pub fn scrape(admin: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect_timeout(&admin, limits::FETCH_TIMEOUT)?;
        stream.set_read_timeout(Some(limits::FETCH_TIMEOUT))?;
        // HTTP/1.0, so that the answer is neither chunked nor kept alive: its end is the stream's.
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: {admin}\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(limits::METRICS_BYTES_MAX as u64).read_to_string(&mut answer)?;
        Self::from_answer(&answer).map_err(|error| format!("http://{admin}/metrics: {error}").into())
    }

    fn from_answer(answer: &str) -> Result<Self> {
        let (head, page) = answer.split_once("\r\n\r\n").ok_or("not an HTTP answer")?;
        match head.split(' ').nth(1) {
            Some("200") => Ok(Self { page: page.to_owned() }),
            _ => Err(format!("answered {}", head.lines().next().unwrap_or_default()).into()),
        }
    }

    /// The sum of all series of this name, whatever their labels: of a counter per shard, the whole server's.
    /// `None` if the page has no such series.
    pub fn sum(&self, name: &str) -> Option<f64> {
        let values: Vec<f64> = self.page.lines().filter_map(|line| sample(line, name)).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// By how much a counter grew since an earlier reading. A counter that the earlier page lacked began at 0.
    pub fn growth(&self, before: &Self, name: &str) -> Option<f64> {
        Some(self.sum(name)? - before.sum(name).unwrap_or(0.0))
    }
}

/// The value of a line `name value` or `name{labels} value`, if it is of this name. A timestamp may follow.
fn sample(line: &str, name: &str) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let values = match rest.strip_prefix('{') {
        Some(labelled) => labelled.rsplit_once('}')?.1,
        None => rest.strip_prefix(' ')?,
    };
    values.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests;
