//! What bytes mean: protocol engines without input or output of their own.
//!
//! An engine is a state machine over `&[u8]`. Received bytes go in and events come out; what is to be sent is
//! written into a slice that the caller provides. Nothing here knows a socket, a task or a clock, and nothing on the
//! path of a request allocates. What every HTTP version shares is the [head table](head::HeadTable), one contiguous
//! head block, indexed, and the vocabulary of [messages](message). [`h1`] is HTTP/1.1; [`h2`] is HTTP/2, whose fields
//! [`hpack`] compresses, and [`h3`] is HTTP/3, with [`qpack`]; [`ws`] is WebSocket, which begins as a request. [`conditions`]
//! is what a request asks of a representation: validators and ranges. [`proxy`] is what a proxy says before its client's
//! first byte, [`dns`] how the addresses of a name are asked for, [`alternatives`] where else a server says that it is found. Sockets,
//! buffers and time-outs belong to the `net` package above.
//!
//! ```
//! use shardwise_proto::head::HeadTable;
//! use shardwise_proto::h1::{Event, Limits, Server, Standing};
//!
//! let input = b"GET /hello?to=ada HTTP/1.1\r\nHost: localhost\r\n\r\n";
//! let (mut server, mut table, limits) = (Server::new(), HeadTable::new(), Limits::default());
//!
//! let step = server.receive(input, &mut table, &limits).unwrap();
//! assert!(matches!(step.event, Event::Head(_)));
//! let block = &input[..step.consumed];
//! assert_eq!((table.path(block), table.query(block)), (&b"/hello"[..], Some(&b"to=ada"[..])));
//!
//! let mut out = [0; 256];
//! let count = server.respond_whole(http::StatusCode::OK, [(&b"Server"[..], &b"demo"[..])], Standing::default(), b"hi", &mut out).unwrap();
//! assert_eq!(&out[..count], b"HTTP/1.1 200 OK\r\nServer: demo\r\nContent-Length: 2\r\n\r\nhi");
//! ```

#![forbid(unsafe_code)]

pub mod alternatives;
mod budget;
pub mod conditions;
pub mod dns;
mod fields;
pub mod h1;
pub mod h2;
pub mod h3;
pub mod head;
pub mod hpack;
mod huffman;
pub mod message;
pub mod proxy;
pub mod qpack;
mod scan;
mod slots;
pub mod ws;
