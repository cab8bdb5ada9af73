//! What packet protection alone costs (RFC 9001 section 5): a packet of QUIC is sealed by one end and opened by the other, with its
//! header's protection, by the same code that the servers use. What HTTP/3 costs beside it is the rest.

use std::process::ExitCode;
use std::time::Duration;

use bench::args::Args;
use bench::machine::{own_cpu, pin};
use bench::stats::{interval, median};
use bench::{Result, limits};
use rustls::Side;
use rustls::crypto::aws_lc_rs::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384};
use rustls::quic::{Keys, Version};

const USAGE: &str = "\
usage: protection [--bytes 1452] [--rounds 20] [--packets 20000] [--cpu 0]
Packets of so many bytes, sealed and opened by AES-128-GCM and AES-256-GCM. No server is asked.";

/// A short header of QUIC version 1: the first byte, a connection ID of 8, a packet number of 4.
const HEADER_BYTES: usize = 13;
const NUMBER_AT: usize = 9;
const TAG_BYTES: usize = 16;

/// What a round of packets has cost, for each.
struct Cost {
    seal: Duration,
    open: Duration,
}

fn main() -> ExitCode {
    bench::run(|| {
        let mut args = Args::from_env(USAGE);
        let bytes: usize = args.value("--bytes", 1452)?;
        let rounds: usize = args.value("--rounds", 20)?;
        let packets: u32 = args.value("--packets", 20_000)?;
        pin(args.value("--cpu", 0)?)?;
        args.finish()?;
        if !(HEADER_BYTES + 2 * TAG_BYTES..=limits::DATAGRAM_BYTES_MAX).contains(&bytes) || packets == 0 {
            return Err(format!("no packet of {bytes} bytes, or none at all").into());
        }
        for (name, suite) in [("AES-128-GCM", TLS13_AES_128_GCM_SHA256), ("AES-256-GCM", TLS13_AES_256_GCM_SHA384)] {
            let suite = suite.tls13().and_then(|suite| suite.quic_suite()).ok_or("rustls has it for QUIC")?;
            let [client, server] = [Side::Client, Side::Server].map(|side| suite.keys(b"the same", side, Version::V1));
            let costs: Vec<Cost> =
                (0..rounds).map(|_| round(&client, &server, bytes, packets)).collect::<Result<_>>()?;
            let [seals, opens] = [|cost: &Cost| cost.seal, |cost: &Cost| cost.open]
                .map(|of| costs.iter().map(|cost| of(cost).as_nanos() as f64 / f64::from(packets)).collect::<Vec<_>>());
            println!("{name}, {bytes} bytes: {}; {}", told("sealed", &seals), told("opened", &opens));
        }
        Ok(())
    })
}

fn told(what: &str, costs: &[f64]) -> String {
    let (low, high) = interval(costs).unwrap_or((f64::NAN, f64::NAN));
    format!("{what} in {:.0} ns (95 % between {low:.0} and {high:.0})", median(costs))
}

/// All are sealed, one after the other in the same memory, as they are sent; then one is opened as often.
fn round(sender: &Keys, receiver: &Keys, bytes: usize, packets: u32) -> Result<Cost> {
    let (sealing, opening) = (&sender.local, &receiver.remote);
    let mut packet = vec![0; bytes];
    let begin = own_cpu();
    for number in 0..packets {
        packet[0] = 0x43;
        packet[NUMBER_AT..HEADER_BYTES].copy_from_slice(&number.to_be_bytes());
        let (header, payload) = packet.split_at_mut(HEADER_BYTES);
        let (payload, tag) = payload.split_at_mut(payload.len() - TAG_BYTES);
        tag.copy_from_slice(sealing.packet.encrypt_in_place(number.into(), header, payload)?.as_ref());
        let (header, sealed) = packet.split_at_mut(HEADER_BYTES);
        let (first, rest) = header.split_at_mut(1);
        sealing.header.encrypt_in_place(&sealed[..TAG_BYTES], &mut first[0], &mut rest[NUMBER_AT - 1..])?;
    }
    let seal = own_cpu() - begin;
    let (sealed, mut opened) = (packet, vec![0; bytes]);
    let begin = own_cpu();
    for _ in 0..packets {
        // As it has come: a copy costs less than a twentieth of opening it.
        opened.copy_from_slice(&sealed);
        let (header, payload) = opened.split_at_mut(HEADER_BYTES);
        let (first, rest) = header.split_at_mut(1);
        opening.header.decrypt_in_place(&payload[..TAG_BYTES], &mut first[0], &mut rest[NUMBER_AT - 1..])?;
        opening.packet.decrypt_in_place(u64::from(packets) - 1, header, payload)?;
    }
    Ok(Cost { seal, open: own_cpu() - begin })
}
