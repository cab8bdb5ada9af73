//! One question and its answer: by a datagram, and by a connection where that is too small for it.
//!
//! Every question has a port and a number of its own, by chance, and only the server that was asked is heard (RFC 5452): who
//! would answer in its place must guess both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use platform::{Datagram, Group, Op, Outcome};
use proto::dns::{self, Answer, Code, Kind, Name};
use shards::Shard;

use crate::TcpStream;
use crate::limits::{DNS_PORTS_TRIED_MAX, DNS_STRAYS_MAX};
use crate::tcp::{Owned, start};

/// Asks a server, and waits for its answer so long.
///
/// Errors: it does not answer, or nothing that could be read.
pub(super) async fn ask(
    shard: &Shard,
    server: SocketAddr,
    name: &Name,
    kind: Kind,
    time: Duration,
) -> Result<Answer, String> {
    let question = |extended| Question { shard, server, name, kind, extended };
    let asked = async {
        let answer = question(true).by_datagram().await?;
        match answer {
            // Some old ones stumble over what they do not know (RFC 6891 section 7).
            Answer { code: Code::NotUnderstood, .. } => question(false).by_datagram().await,
            Answer { is_truncated: true, .. } => question(true).by_connection().await,
            answer => Ok(answer),
        }
    };
    match shard.timeout(time, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error),
        Err(_) => Err("it does not answer in time".to_owned()),
    }
}

#[derive(Clone, Copy)]
struct Question<'q> {
    shard: &'q Shard,
    server: SocketAddr,
    name: &'q Name,
    kind: Kind,
    extended: bool,
}

impl Question<'_> {
    fn write(self) -> (u16, Vec<u8>) {
        let number = self.shard.random() as u16;
        (number, dns::question(number, self.name, self.kind, self.extended))
    }

    fn read(self, number: u16, message: &[u8]) -> Result<Answer, dns::Error> {
        dns::read(message, number, self.name, self.kind)
    }

    async fn by_datagram(self) -> Result<Answer, String> {
        let (number, data) = self.write();
        let Question { shard, server, .. } = self;
        let socket = self.bind().map_err(told)?;
        // The kernel passes on nobody else's, and tells if nobody is there.
        let connects = Op::Connect { socket: socket.handle, peer: server };
        start(shard, connects).map_err(told)?.await.result.map_err(told)?;
        let message = Box::new(Datagram { peer: None, source: None, data, segment: None, ecn: 0 });
        let sends = Op::SendMessage { socket: socket.handle, message };
        start(shard, sends).map_err(told)?.await.result.map_err(told)?;
        let receives = Op::ReceiveMessage { socket: socket.handle, group: Group::Bulk };
        let mut receiving = start(shard, receives).map_err(told)?;
        for _ in 0..DNS_STRAYS_MAX {
            let completion = std::future::poll_fn(|cx| receiving.poll_next(cx)).await;
            let Outcome::Message(message) = completion.result.map_err(told)? else { break };
            let is_of_server = message.peer.ip() == server.ip() && message.peer.port() == server.port();
            match self.read(number, &message.data) {
                _ if !is_of_server || message.truncated => {}
                Err(dns::Error::NotOurs) => {}
                read => return read.map_err(told),
            }
            if !completion.more {
                receiving =
                    start(shard, Op::ReceiveMessage { socket: socket.handle, group: Group::Bulk }).map_err(told)?;
            }
        }
        Err("what comes is no answer".to_owned())
    }

    /// A socket at a port by chance.
    fn bind(self) -> Result<Owned, platform::Error> {
        let any: IpAddr =
            if self.server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let open = |port| self.shard.with_reactor(|reactor| reactor.datagram_socket(SocketAddr::new(any, port)));
        let mut socket = Err(platform::Error::AddressInUse);
        for _ in 0..DNS_PORTS_TRIED_MAX {
            if !matches!(socket, Err(platform::Error::AddressInUse | platform::Error::Denied)) {
                break;
            }
            socket = open(PORT_MIN | self.shard.random() as u16);
        }
        // Then the kernel's choice, which is as good on most systems.
        let handle = socket.or_else(|_| open(0))?;
        Ok(Owned { shard: self.shard.clone(), handle })
    }

    async fn by_connection(self) -> Result<Answer, String> {
        let (number, data) = self.write();
        let mut stream = TcpStream::connect(self.shard, self.server).await.map_err(told)?;
        let length = (data.len() as u16).to_be_bytes();
        stream.send([&length[..], &data].concat()).await.map_err(told)?;
        let mut message = Vec::new();
        // Its length comes first, and is its bound: so many bytes as two can say.
        while message.len() < 2 || message.len() < 2 + usize::from(u16::from_be_bytes([message[0], message[1]])) {
            match stream.recv().await.map_err(told)? {
                Some(chunk) => message.extend_from_slice(&chunk),
                None => return Err("it ends in the middle of its answer".to_owned()),
            }
        }
        let end = 2 + usize::from(u16::from_be_bytes([message[0], message[1]]));
        self.read(number, &message[2..end]).map_err(told)
    }
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Ports from here on are nobody's in particular (RFC 6056 section 3.2 has them from 1024 on; half of them are twice as many as
/// the kernel's choice has).
const PORT_MIN: u16 = 0x8000;
