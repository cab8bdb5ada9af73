//! HTTP/3 by tokio-quiche, on tokio's current-thread runtime. With it comes BoringSSL, which is built by CMake and whose bindings
//! are made by libclang: `apt-get install cmake g++ libclang-dev`.

use std::fs;
use std::net::UdpSocket;

use bytes::{Bytes, BytesMut};
use peer::{BYTES, JSON, Message, PLAINTEXT, Protocol, TEXT};
use peer_h3::STREAMS_MAX;
use tokio::runtime;
use tokio_quiche::http3::driver::{InboundFrame, InboundFrameStream, IncomingH3Headers, OutboundFrame, ServerH3Event};
use tokio_quiche::http3::settings::Http3Settings;
use tokio_quiche::metrics::DefaultMetrics;
use tokio_quiche::quiche::h3::{Header, NameValue};
use tokio_quiche::settings::{CertificateKind, Hooks, QuicSettings, TlsCertificatePaths};
use tokio_quiche::{ConnectionParams, QuicConnectionStream, ServerH3Controller, ServerH3Driver};

/// What a client may send ahead on a stream, as quinn has it.
const STREAM_WINDOW_BYTES: u64 = 1_250_000;

/// The same on all streams together: quinn has no bound there, and so much is none either.
const WINDOW_BYTES: u64 = STREAM_WINDOW_BYTES * STREAMS_MAX as u64;

/// The longest datagram, where quinn's search for one ends.
const DATAGRAM_BYTES_MAX: usize = 1452;

struct Answer {
    status: &'static str,
    content_type: &'static str,
    body: Bytes,
}

fn main() {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("the runtime starts");
    runtime.block_on(serve());
}

async fn serve() {
    let socket = UdpSocket::bind(peer::http3_addr()).expect("the address is free");
    let addr = socket.local_addr().expect("a bound socket has an address");
    let mut connections = listen(socket).into_inner();
    peer::say_with(addr, Protocol::Http3);
    while let Some(connection) = connections.recv().await {
        // What is no hand-shake is no news.
        let Ok(connection) = connection else { continue };
        let (driver, controller) = ServerH3Driver::new(Http3Settings::default());
        connection.start(driver);
        tokio::spawn(speak(controller));
    }
}

/// TLS by a certificate made now, which it wants to read from files. It asks the kernel by itself to join and to cut datagrams.
fn listen(socket: UdpSocket) -> QuicConnectionStream<DefaultMetrics> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name, pem| {
        let path = folder.path().join(name);
        fs::write(&path, pem).expect("the folder can be written to");
        path.into_os_string().into_string().expect("the folder's name is text")
    };
    let (cert, key) = (file("cert.pem", made.cert.pem()), file("key.pem", made.signing_key.serialize_pem()));
    let tls = TlsCertificatePaths { cert: &cert, private_key: &key, kind: CertificateKind::X509 };
    let params = ConnectionParams::new_server(settings(), tls, Hooks::default());
    let mut listeners = tokio_quiche::listen([socket], params, DefaultMetrics).expect("it starts");
    listeners.remove(0)
}

fn settings() -> QuicSettings {
    let mut settings = QuicSettings::default();
    settings.initial_max_streams_bidi = STREAMS_MAX.into();
    settings.initial_max_stream_data_bidi_remote = STREAM_WINDOW_BYTES;
    settings.initial_max_data = WINDOW_BYTES;
    settings.max_connection_window = WINDOW_BYTES;
    settings.max_recv_udp_payload_size = DATAGRAM_BYTES_MAX;
    settings.max_send_udp_payload_size = DATAGRAM_BYTES_MAX;
    // Nor do the others have a client prove its address.
    settings.disable_client_ip_validation = true;
    settings
}

/// Serves one connection, until its driver goes.
async fn speak(mut controller: ServerH3Controller) {
    while let Some(event) = controller.event_receiver_mut().recv().await {
        if let ServerH3Event::Headers { incoming_headers, .. } = event {
            tokio::spawn(exchange(incoming_headers));
        }
    }
}

/// A client that leaves is no news.
async fn exchange(request: IncomingH3Headers) {
    let IncomingH3Headers { headers, send, recv, .. } = request;
    let Some(Answer { status, content_type, body }) = answer(&headers, recv).await else { return };
    let head = vec![
        Header::new(b":status", status.as_bytes()),
        Header::new(b"content-type", content_type.as_bytes()),
        Header::new(b"server", peer::SERVER.as_bytes()),
        Header::new(b"date", &peer::date()),
        Header::new(b"content-length", body.len().to_string().as_bytes()),
    ];
    let Some(send) = send.get_ref() else { return };
    if send.send(OutboundFrame::Headers(head, None)).await.is_ok() {
        let _ = send.send(OutboundFrame::Body(body, true)).await;
    }
}

/// None if the client takes its request back.
async fn answer(headers: &[Header], body: InboundFrameStream) -> Option<Answer> {
    let value = |name: &[u8]| headers.iter().find(|header| header.name() == name).map_or(&b""[..], |it| it.value());
    let answer = |content_type, body| Some(Answer { status: "200", content_type, body });
    match (value(b":method"), value(b":path")) {
        (b"GET", b"/plaintext") => answer(TEXT, Bytes::from_static(PLAINTEXT.as_bytes())),
        (b"GET", b"/json") => answer(JSON, serde_json::to_vec(&Message::HELLO).expect("the message is text").into()),
        (b"GET", b"/bytes/1048576") => answer(BYTES, Bytes::from_static(&[b'x'; 1024 * 1024])),
        (b"POST", b"/echo") => answer(BYTES, read(body).await?),
        _ => Some(Answer { status: "404", content_type: TEXT, body: Bytes::new() }),
    }
}

async fn read(mut frames: InboundFrameStream) -> Option<Bytes> {
    let mut body = BytesMut::new();
    while let InboundFrame::Body(piece, is_last) = frames.recv().await? {
        body.extend_from_slice(&piece);
        if is_last {
            return Some(body.freeze());
        }
    }
    None
}
