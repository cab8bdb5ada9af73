//! The admin listener over real sockets: what it answers, and that nobody can hold it up.

use super::*;

struct Told;

impl Report for Told {
    fn metrics(&self) -> String {
        "a 1\n".to_owned()
    }

    fn unready(&self) -> Option<String> {
        Some("0 of 2 shards serve".to_owned())
    }
}

fn start() -> Admin {
    start_at(([127, 0, 0, 1], 0).into()).expect("the kernel has a port")
}

fn start_at(address: SocketAddr) -> Result<Admin, String> {
    Admin::start(address, || TcpListener::bind(address).map(Outside::from), Arc::new(Told))
}

fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(request).expect("it reads");
    let mut answer = String::new();
    // A reset after the answer is as good as an end.
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn it_answers_one_request_and_closes() {
    let admin = start();
    let check = |request: &str, status: &str, body: &str| {
        let answer = ask(admin.address(), request.as_bytes());
        let (head, found) = answer.split_once("\r\n\r\n").expect("a whole head");
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
        assert!(head.contains("Connection: close"), "{head}");
        assert_eq!(found, body);
    };
    check("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", "a 1\n");
    check("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1", "200 OK", "alive\n");
    check("HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", "");
    check("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", "503 Service Unavailable", "not ready: 0 of 2 shards serve\n");
    check("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404 Not Found", "Here are /metrics, /healthz and /readyz.\n");
    check("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "405 Method Not Allowed", "Use GET.\n");
}

#[test]
fn it_refuses_what_is_not_http_or_too_large() {
    let admin = start();
    assert!(ask(admin.address(), b"nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let large = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(ADMIN_HEAD_BYTES_MAX));
    assert!(ask(admin.address(), large.as_bytes()).starts_with("HTTP/1.1 431 "));
}

#[test]
fn a_silent_client_is_given_up() {
    let admin = start();
    // All threads are held up by clients that send nothing; a third still gets its answer within their limit.
    let silent: Vec<_> = (0..ADMIN_THREADS).map(|_| TcpStream::connect(admin.address()).expect("it listens")).collect();
    let begun = Instant::now();
    assert!(ask(admin.address(), b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").ends_with("alive\n"));
    assert!(begun.elapsed() < ADMIN_EXCHANGE_TIME_MAX * 2);
    drop(silent);
}

#[test]
fn an_address_in_use_is_an_error_with_a_remedy() {
    let admin = start();
    let error = start_at(admin.address()).err().expect("the address is taken");
    assert!(error.contains(&admin.address().to_string()) && error.contains("Choose another address"), "{error}");
}

#[test]
fn it_ends_when_dropped() {
    let admin = start();
    let address = admin.address();
    drop(admin);
    assert!(TcpStream::connect(address).is_err());
}
