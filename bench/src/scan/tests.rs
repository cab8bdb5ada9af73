use super::Heads;

/// The same count must come out whatever the reads: all at once, in two parts at every place, byte by byte.
#[track_caller]
fn check(input: &str, expect: u64) {
    let bytes = input.as_bytes();
    assert_eq!(Heads::default().count(bytes), expect, "at once: {input:?}");
    for cut in 0..=bytes.len() {
        let mut heads = Heads::default();
        let count = heads.count(&bytes[..cut]) + heads.count(&bytes[cut..]);
        assert_eq!(count, expect, "cut at {cut}: {input:?}");
    }
    let mut heads = Heads::default();
    let count: u64 = bytes.chunks(1).map(|byte| heads.count(byte)).sum();
    assert_eq!(count, expect, "byte by byte: {input:?}");
}

#[test]
fn counts_whole_heads() {
    check("", 0);
    check("GET / HTTP/1.1\r\n", 0);
    check("GET / HTTP/1.1\r\n\r\n", 1);
    check("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n", 1);
    for padding in 0..8 {
        let request = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(padding));
        check(&request.repeat(5), 5);
    }
}

#[test]
fn near_misses_are_no_ends() {
    check("\r\n\r", 0);
    check("\n\r\n", 0);
    check("\r\r\n\r\n", 1);
    check("\r\n\r\r\n\r\n", 1);
    check("a\n\r\n\r\nb", 1);
    check("\r\n\r\n\r\n", 1);
    check("\r\n\r\n\r\n\r\n", 2);
    check("\n\n\n\n\r\r\r\r", 0);
}

#[test]
fn agrees_with_a_plain_search_on_every_short_string() {
    let alphabet = ['\r', '\n', 'x'];
    for length in 0..=9 {
        for number in 0..3_usize.pow(length) {
            let text: String = (0..length).map(|place| alphabet[number / 3_usize.pow(place) % 3]).collect();
            let expect = text.matches("\r\n\r\n").count() as u64; // like the scanner's, its matches do not overlap
            assert_eq!(Heads::default().count(text.as_bytes()), expect, "{text:?}");
        }
    }
}

#[test]
fn bodies_are_passed_over_whatever_the_reads() {
    let request = "POST / HTTP/1.1\r\n\r\nab\r\n\r\n";
    let all = request.repeat(3);
    for cut in 0..=all.len() {
        let mut heads = Heads::with_bodies(6);
        let before = heads.count(&all.as_bytes()[..cut]);
        assert_eq!(before, (cut / request.len()) as u64, "cut at {cut}");
        assert_eq!(before + heads.count(&all.as_bytes()[cut..]), 3, "cut at {cut}");
    }
}
