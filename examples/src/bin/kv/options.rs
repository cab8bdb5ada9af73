//! What the command line says.

use std::net::SocketAddr;

use shardwise::Choice;

use crate::limits::MEMORY_BYTES;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Serve(Options),
    Help,
}

/// How to serve.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) address: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) shards: Option<usize>,
    /// Unless given, the environment decides.
    pub(crate) backend: Option<Choice>,
    /// Of each shard, for its entries.
    pub(crate) memory_bytes: usize,
}

pub(crate) const HELP: &str = "\
An in-memory key-value store over HTTP, one part of it on each shard.

Usage: kv [OPTIONS]

  --addr ADDR:PORT    where to serve HTTP/1.1; port 0 lets the kernel choose [127.0.0.1:8080]
  --admin ADDR:PORT   where to answer /metrics, /healthz and /readyz
  --shards N          how many shards; one for each CPU unless given
  --backend NAME      auto, uring or epoll; SHARDWISE_BACKEND decides unless given, and else auto
  --memory BYTES      of each shard for its entries, with K, M or G if wanted; what is used least goes [64M]
  --help              this text

  PUT /kv/{key}        sets the value to the body, for good or with ?ttl=SECONDS; 201 if it is new, else 204.
                       If-None-Match: * only creates, If-Match: ETAG only replaces that version; else 412
  GET, HEAD /kv/{key}  the value and its ETag; 304 if If-None-Match has it; 404
  DELETE /kv/{key}     204, or 404
  POST /kv/{key}/incr  adds 1, or ?by=N, to a number, and answers with the sum
  GET /stats           what each shard holds and has done, as JSON
";

impl Options {
    /// Reads the arguments that follow the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Asked, String> {
        let mut options = Options {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin: None,
            shards: None,
            backend: None,
            memory_bytes: MEMORY_BYTES,
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let (name, mut inline) = match argument.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (argument, None),
            };
            let mut value = || inline.take().or_else(|| arguments.next()).ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--help" | "-h" => return Ok(Asked::Help),
                "--addr" => options.address = address(&name, &value()?)?,
                "--admin" => options.admin = Some(address(&name, &value()?)?),
                "--shards" => options.shards = Some(count(&value()?)?),
                "--backend" => options.backend = Some(value()?.parse()?),
                "--memory" => options.memory_bytes = bytes(&value()?)?,
                _ => return Err(format!("there is no option {name}")),
            }
        }
        Ok(Asked::Serve(options))
    }
}

fn address(name: &str, value: &str) -> Result<SocketAddr, String> {
    value.parse().map_err(|_| format!("{name} {value}: give an IP address and a port, such as 127.0.0.1:8080"))
}

fn count(value: &str) -> Result<usize, String> {
    match value.parse() {
        Ok(0) => Err("--shards 0: a server has at least one shard".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err(format!("--shards {value}: give a number")),
    }
}

/// A number of bytes, as it is or in units of 1024, 1024² or 1024³.
fn bytes(value: &str) -> Result<usize, String> {
    let (digits, unit) = match value.as_bytes().last() {
        Some(b'K' | b'k') => (&value[..value.len() - 1], 1 << 10),
        Some(b'M' | b'm') => (&value[..value.len() - 1], 1 << 20),
        Some(b'G' | b'g') => (&value[..value.len() - 1], 1 << 30),
        _ => (value, 1),
    };
    let count: Option<usize> = digits.parse().ok();
    count
        .and_then(|count| count.checked_mul(unit))
        .ok_or_else(|| format!("--memory {value}: give a number of bytes, such as 1000000, 512K, 64M or 2G"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expect: Result<&str, &str>) {
        let asked = Options::parse(line.split_whitespace().map(str::to_owned));
        let told = asked.map(|asked| match asked {
            Asked::Help => "help".to_owned(),
            Asked::Serve(Options { address, admin, shards, backend, memory_bytes }) => {
                let admin = admin.map_or("-".to_owned(), |address| address.to_string());
                let shards = shards.map_or("-".to_owned(), |count| count.to_string());
                let backend = backend.map_or("-".to_owned(), |choice| format!("{choice:?}"));
                format!("{address} {admin} {shards} {backend} {memory_bytes}")
            }
        });
        assert_eq!(told.as_deref().map_err(String::as_str), expect);
    }

    #[test]
    fn good_lines_are_understood() {
        check("", Ok("127.0.0.1:8080 - - - 67108864"));
        check("--help --nonsense", Ok("help"));
        check("--addr 0.0.0.0:80 --admin [::1]:9 --shards 2", Ok("0.0.0.0:80 [::1]:9 2 - 67108864"));
        check("--backend auto", Ok("127.0.0.1:8080 - - Auto 67108864"));
        check("--addr=127.0.0.1:0 --backend=epoll", Ok("127.0.0.1:0 - - Force(Epoll) 67108864"));
        check("--memory 12345", Ok("127.0.0.1:8080 - - - 12345"));
        check("--memory 2k", Ok("127.0.0.1:8080 - - - 2048"));
        check("--memory 3G", Ok("127.0.0.1:8080 - - - 3221225472"));
    }

    #[test]
    fn bad_lines_are_refused_in_words() {
        check("--shards 0", Err("--shards 0: a server has at least one shard"));
        check("--shards many", Err("--shards many: give a number"));
        check("--shards", Err("--shards needs a value"));
        check("--addr here", Err("--addr here: give an IP address and a port, such as 127.0.0.1:8080"));
        check("--backend kqueue", Err("there is no backend \"kqueue\": choose auto, uring or epoll"));
        for wrong in ["much", "K", "", "-1", "99999999999G", "1.5M"] {
            let refusal = format!("--memory {wrong}: give a number of bytes, such as 1000000, 512K, 64M or 2G");
            check(&format!("--memory={wrong}"), Err(&refusal));
        }
        check("--verbose", Err("there is no option --verbose"));
        check("8080", Err("there is no option 8080"));
    }
}
