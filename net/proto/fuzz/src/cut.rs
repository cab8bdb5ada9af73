//! How an input is cut into reads, and the chance that decides it: from the input itself, so that a finding needs no seed.

/// Ways to cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    Whole,
    Bytes,
    Random(u64),
}

impl Cut {
    /// Every way, the last one decided by the input.
    pub(crate) fn all(input: &[u8]) -> [Cut; 3] {
        [Cut::Whole, Cut::Bytes, Cut::Random(hash(input))]
    }

    /// Bytes of the next read, of so many that are left.
    pub(crate) fn next(&mut self, left: usize) -> usize {
        match self {
            Cut::Whole => left,
            Cut::Bytes => left.min(1),
            Cut::Random(state) => {
                let mut random = Random(*state);
                let count = 1 + random.below(left.clamp(1, 40));
                *state = random.0;
                count.min(left)
            }
        }
    }
}

/// Splitmix64.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }
}

fn hash(input: &[u8]) -> u64 {
    input.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// What must hold of a field wherever it comes from: its name is a token, its value has nothing in it that ends a line.
pub(crate) fn check_field(name: &[u8], value: &[u8]) {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    assert!(!name.is_empty() && name.iter().all(is_tchar), "{}", name.escape_ascii());
    assert!(value.iter().all(|&byte| byte == b'\t' || byte >= b' ' && byte != 0x7f), "{}", value.escape_ascii());
    assert!(
        ![value.first(), value.last()].iter().any(|end| matches!(end, Some(b' ' | b'\t'))),
        "white space is cut off"
    );
}
