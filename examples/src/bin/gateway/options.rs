//! What the command line says.

use std::path::PathBuf;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To serve by this file.
    Serve(PathBuf),
    /// To say whether this file is in order.
    Check(PathBuf),
    Help,
}

pub(crate) const HELP: &str = "\
A reverse proxy that a file configures.

Usage: gateway --config FILE [--check]

  --config FILE       what to serve, and who answers; deploy/gateway.toml is a sample with all there is to say
  --check             says whether the file is in order, and ends: 0 if it is, 1 and each fault with its line if not
  --help              this text

The file is looked at all the time, and at once after SIGHUP. What is new in it holds for the requests that come then; one that
is not in order changes nothing. SIGTERM and SIGINT drain. SIGUSR2 starts the program anew and leaves it the listening sockets,
for what cannot change while it runs: [process], [http] and [[listeners]].
";

impl Asked {
    /// Reads the arguments that follow the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Asked, String> {
        let (mut file, mut is_check) = (None, false);
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let (name, mut inline) = match argument.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (argument, None),
            };
            match name.as_str() {
                "--help" | "-h" => return Ok(Asked::Help),
                "--check" => is_check = true,
                "--config" => {
                    let value = inline.take().or_else(|| arguments.next());
                    file = Some(PathBuf::from(value.ok_or("--config needs a value")?));
                }
                _ => return Err(format!("there is no option {name}")),
            }
        }
        let file = file.ok_or("--config FILE: say what to serve")?;
        Ok(if is_check { Asked::Check(file) } else { Asked::Serve(file) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood_or_refused_in_words() {
        #[track_caller]
        fn check(line: &str, expect: Result<Asked, &str>) {
            let asked = Asked::parse(line.split_whitespace().map(str::to_owned));
            assert_eq!(asked.as_ref().map_err(String::as_str), expect.as_ref().map_err(|text| *text));
        }
        check("--config a.toml", Ok(Asked::Serve("a.toml".into())));
        check("--check --config=a.toml", Ok(Asked::Check("a.toml".into())));
        check("--help --nonsense", Ok(Asked::Help));
        check("", Err("--config FILE: say what to serve"));
        check("--config", Err("--config needs a value"));
        check("--addr here", Err("there is no option --addr"));
    }
}
