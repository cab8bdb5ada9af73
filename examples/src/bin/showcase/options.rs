//! What the command line says.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use shardwise::Choice;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Serve(Box<Options>),
    Help,
}

/// How to serve.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) address: SocketAddr,
    /// Where to serve by TLS as well.
    pub(crate) tls_address: Option<SocketAddr>,
    /// A certificate and its key; one is made unless given.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) shards: Option<usize>,
    /// Unless given, the environment decides.
    pub(crate) backend: Option<Choice>,
    /// How long it serves on, and says that it is not ready, before a drain.
    pub(crate) drain_notice: Duration,
    /// How long an idle shard looks for something to do before it sleeps.
    pub(crate) spin: Duration,
    /// The directory whose files are served.
    pub(crate) root: Option<PathBuf>,
}

pub(crate) const HELP: &str = "\
The server on which shardwise's speed and conformance are measured.

Usage: showcase --addr ADDR:PORT [OPTIONS]

  --addr ADDR:PORT    where to serve HTTP/1.1 and HTTP/2; port 0 lets the kernel choose [127.0.0.1:8080]
  --tls-addr ADDR:PORT
                      where to serve the same by TLS 1.3; nowhere unless given
  --cert FILE         the certificate in PEM, and behind it those that vouch for it; self-signed unless given
  --key FILE          its key in PEM; both files are looked at every few seconds, and may be replaced
  --admin ADDR:PORT   where to answer /metrics, /healthz and /readyz
  --shards N          how many shards; one for each CPU unless given
  --backend NAME      auto, uring or epoll; SHARDWISE_BACKEND decides unless given, and else auto
  --drain-notice MS   how long to serve on, not ready any more, before a drain; not at all unless given
  --spin US           how long an idle shard looks for something to do before it sleeps, up to 500 us; not at all unless given
  --root DIR          the directory whose files are served at /files; none unless given
  --help              this text

Routes: GET /plaintext /json /bytes/{n} /stream/{n} /headers /sleep/{ms} /shard /files/{path}, POST /echo
        /sum, any method /request
";

impl Options {
    /// Reads the arguments that follow the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Asked, String> {
        let usual = SocketAddr::from(([127, 0, 0, 1], 8080));
        let mut options = Options {
            address: usual,
            tls_address: None,
            certificate: None,
            admin: None,
            shards: None,
            backend: None,
            drain_notice: Duration::ZERO,
            spin: Duration::ZERO,
            root: None,
        };
        let (mut certificate, mut key) = (None, None);
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
                "--tls-addr" => options.tls_address = Some(address(&name, &value()?)?),
                "--cert" => certificate = Some(PathBuf::from(value()?)),
                "--key" => key = Some(PathBuf::from(value()?)),
                "--admin" => options.admin = Some(address(&name, &value()?)?),
                "--shards" => options.shards = Some(count(&value()?)?),
                "--backend" => options.backend = Some(value()?.parse()?),
                "--drain-notice" => {
                    let value = value()?;
                    let time = value.parse().map_err(|_| format!("--drain-notice {value}: give milliseconds"))?;
                    options.drain_notice = Duration::from_millis(time);
                }
                "--spin" => {
                    let value = value()?;
                    let time = value.parse().map_err(|_| format!("--spin {value}: give microseconds"))?;
                    options.spin = Duration::from_micros(time);
                }
                "--root" => options.root = Some(value()?.into()),
                _ => return Err(format!("there is no option {name}")),
            }
        }
        options.certificate = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err("--cert and --key: give both or neither".to_owned()),
        };
        if options.certificate.is_some() && options.tls_address.is_none() {
            return Err("--cert is for --tls-addr: say where to serve by TLS".to_owned());
        }
        Ok(Asked::Serve(Box::new(options)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expect: Result<&str, &str>) {
        let asked = Options::parse(line.split_whitespace().map(str::to_owned));
        let told = asked.map(|asked| match asked {
            Asked::Help => "help".to_owned(),
            Asked::Serve(options) => {
                let Options { address, tls_address, certificate, admin, shards, backend, root, .. } = *options;
                let tls = tls_address.map_or(String::new(), |address| format!(" tls {address}"));
                let files = certificate.map(|(one, other)| format!(" {} {}", one.display(), other.display()));
                let files = files.unwrap_or_default();
                let admin = admin.map_or("-".to_owned(), |address| address.to_string());
                let shards = shards.map_or("-".to_owned(), |count| count.to_string());
                let backend = backend.map_or("-".to_owned(), |choice| format!("{choice:?}"));
                let root = root.map_or("-".to_owned(), |root| root.display().to_string());
                format!("{address} {admin} {shards} {backend} {root}{tls}{files}")
            }
        });
        assert_eq!(told.as_deref().map_err(String::as_str), expect);
    }

    #[test]
    fn good_lines_are_understood() {
        check("", Ok("127.0.0.1:8080 - - - -"));
        check("--help --nonsense", Ok("help"));
        check("--addr 0.0.0.0:80 --admin [::1]:9 --shards 2", Ok("0.0.0.0:80 [::1]:9 2 - -"));
        check("--backend auto", Ok("127.0.0.1:8080 - - Auto -"));
        check("--addr=127.0.0.1:0 --backend=epoll", Ok("127.0.0.1:0 - - Force(Epoll) -"));
        check("--tls-addr 127.0.0.1:8443", Ok("127.0.0.1:8080 - - - - tls 127.0.0.1:8443"));
        check("--tls-addr [::]:0 --cert c --key k", Ok("127.0.0.1:8080 - - - - tls [::]:0 c k"));
        check("--root /srv/www", Ok("127.0.0.1:8080 - - - /srv/www"));
    }

    #[test]
    fn bad_lines_are_refused_in_words() {
        check("--shards 0", Err("--shards 0: a server has at least one shard"));
        check("--shards many", Err("--shards many: give a number"));
        check("--shards", Err("--shards needs a value"));
        check("--addr here", Err("--addr here: give an IP address and a port, such as 127.0.0.1:8080"));
        check("--backend kqueue", Err("there is no backend \"kqueue\": choose auto, uring or epoll"));
        check("--tls-addr 8443", Err("--tls-addr 8443: give an IP address and a port, such as 127.0.0.1:8080"));
        check("--tls-addr [::]:0 --cert c", Err("--cert and --key: give both or neither"));
        check("--key k", Err("--cert and --key: give both or neither"));
        check("--cert c --key k", Err("--cert is for --tls-addr: say where to serve by TLS"));
        check("--spin long", Err("--spin long: give microseconds"));
        check("--verbose", Err("there is no option --verbose"));
        check("8080", Err("there is no option 8080"));
    }
}
