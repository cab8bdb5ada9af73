//! Masking (RFC 6455 section 5.3): the payload of every frame of a client, combined with a key of four bytes.
//!
//! The one idea: a mask is a place in its endless key, so a payload may be masked in parts. The work is done in words, in
//! loops that compilers turn into vector instructions. What is masked twice is as it was before.

/// A key and how far it has been used.
///
/// ```
/// use shardwise_proto::ws::Mask;
///
/// let mut payload = *b"Hello";
/// let mut mask = Mask::new([0x37, 0xfa, 0x21, 0x3d]);
/// mask.apply(&mut payload[..2]);
/// mask.apply(&mut payload[2..]);
/// assert_eq!(payload, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask {
    /// The next four bytes of it, the first one lowest.
    key: u32,
}

impl Mask {
    /// Of a frame that is not masked.
    pub(crate) const NONE: Mask = Mask { key: 0 };

    /// The beginning of a payload.
    #[inline]
    pub const fn new(key: [u8; 4]) -> Mask {
        Mask { key: u32::from_le_bytes(key) }
    }

    /// Masks, or unmasks, the next bytes of the payload.
    #[inline]
    pub fn apply(&mut self, bytes: &mut [u8]) {
        if self.key == 0 {
            return;
        }
        let word = u64::from(self.key) << 32 | u64::from(self.key);
        let (blocks, rest) = bytes.as_chunks_mut::<BLOCK_BYTES>();
        for block in blocks {
            block.as_chunks_mut().0.iter_mut().for_each(|bytes| combine(bytes, word));
        }
        let (words, rest) = rest.as_chunks_mut();
        words.iter_mut().for_each(|bytes| combine(bytes, word));
        let key = word.to_le_bytes();
        rest.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        // Blocks and words are whole turns of the key.
        self.key = self.key.rotate_right(8 * (rest.len() % 4) as u32);
    }
}

#[inline(always)]
fn combine(bytes: &mut [u8; 8], word: u64) {
    *bytes = (u64::from_le_bytes(*bytes) ^ word).to_le_bytes();
}

/// Bytes in one round of the loop: two or four registers of what x86-64 and AArch64 have at the least.
const BLOCK_BYTES: usize = 64;
