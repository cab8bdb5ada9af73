//! `net::tls::tls_records` under libFuzzer; without it, a program that replays the files that it is given, and writes each as the
//! line that it is in `kept/tls_records`.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|input: &[u8]| net::tls::tls_records(input));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    for path in std::env::args_os().skip(1) {
        let input = std::fs::read(path)?;
        net::tls::tls_records(&input);
        println!("{}", input.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }
    Ok(())
}
