//! Clients that leave, in either way, before and within an answer: the call behind ends with them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::gateway::{Gateway, to_one};
use crate::wire::WAIT_MAX;

/// A server that answers each request with these bytes, and then waits: it tells when it has a request, and when its client has
/// gone.
fn waiting(answer: &'static [u8]) -> (SocketAddr, Receiver<&'static str>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (tells, told) = channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let tells = tells.clone();
            thread::spawn(move || {
                let mut room = [0; 4096];
                if !stream.read(&mut room).is_ok_and(|count| count > 0) || tells.send("asked").is_err() {
                    return;
                }
                let _ = stream.write_all(answer);
                while stream.read(&mut room).is_ok_and(|count| count > 0) {}
                let _ = tells.send("gone");
            });
        }
    });
    (address, told)
}

/// Leaves once the server has been asked and `until` has come of its answer.
fn check(backend: &'static str, answer: &'static [u8], until: &[u8]) {
    let (address, told) = waiting(answer);
    let gateway = Gateway::start(backend, &to_one(&[address]));
    for how in ["ends", "resets", "ends its side"] {
        let mut client = TcpStream::connect(gateway.address()).expect("it accepts");
        client.set_read_timeout(Some(WAIT_MAX)).expect("a socket");
        client.write_all(b"GET /wait HTTP/1.1\r\nHost: here\r\n\r\n").expect("a socket");
        assert_eq!(told.recv_timeout(WAIT_MAX), Ok("asked"), "{how}");
        let mut came = Vec::new();
        while !came.ends_with(until) {
            let mut room = [0; 1024];
            let count = client.read(&mut room).expect("an answer that begins");
            came.extend_from_slice(&room[..count]);
        }
        match how {
            "ends" => drop(client),
            "resets" => {
                rustix::net::sockopt::set_socket_linger(&client, Some(std::time::Duration::ZERO)).expect("a socket");
                drop(client);
            }
            _ => {
                client.shutdown(Shutdown::Write).expect("a socket");
                assert_eq!(told.recv_timeout(WAIT_MAX), Ok("gone"), "{how}");
                continue;
            }
        }
        assert_eq!(told.recv_timeout(WAIT_MAX), Ok("gone"), "{how}");
    }
    let log = gateway.stopped();
    assert_eq!(log.lines().filter(|line| line.contains("path=\"/wait\"")).count(), 3, "{log}");
}

pub(crate) fn a_client_that_leaves_ends_its_call(backend: &'static str) {
    check(backend, b"", b"");
}

pub(crate) fn and_so_does_one_in_the_middle_of_an_answer(backend: &'static str) {
    check(backend, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n", b"begun\r\n");
}
