//! Records of TLS 1.3 (RFC 8446 section 5): sealed from where content lies to where it is sent from, opened from where they
//! came to where their content stays.
//!
//! The idea: whoever encrypts reads every byte and writes it anyway, so that is the one time a byte is moved. Nothing here
//! holds memory.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::{ConnectionTrafficSecrets, ContentType, Error, PeerMisbehaved};

/// Bytes of a record before what is sealed.
pub(super) const HEADER_BYTES: usize = 5;

/// Bytes that prove what was sealed, of every suite (RFC 8446 appendix B.4).
pub(super) const TAG_BYTES: usize = 16;

/// Bytes that a record has beside its content, unless it is padded: header, the content's type, tag.
pub(super) const OVERHEAD_BYTES: usize = HEADER_BYTES + 1 + TAG_BYTES;

/// Bytes of content and of its type that one record may hold (section 5.4).
const INNER_BYTES_MAX: usize = (1 << 14) + 1;

/// Bytes of what is sealed in one record (section 5.2): more than the above, for suites that there are not.
const SEALED_BYTES_MAX: usize = (1 << 14) + 256;

/// The key of one direction, and how many records it was used for.
pub(super) struct Key {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
}

impl Key {
    pub(super) fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Self, Error> {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(Error::General("a suite that nobody has agreed to".into())),
        };
        let refused = |_| Error::General("a key that does not fit its suite".into());
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).map_err(refused)?);
        let iv = iv.as_ref().try_into().expect("every suite has a nonce of this length");
        Ok(Key { key, iv, sequence })
    }

    /// How many records it was used for.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Fills the place with a record of this content.
    pub(super) fn seal(&mut self, kind: ContentType, content: &[u8], place: &mut [u8]) -> Result<(), Error> {
        let (header, body, tail) = lay_out(place);
        let sealed = self.key.seal_out_of_place_scatter(
            Nonce::assume_unique_for_key(next_nonce(&self.iv, &mut self.sequence)),
            Aad::from(header),
            content,
            body,
            &[kind.into()],
            tail,
        );
        sealed.map_err(|_| Error::EncryptError)
    }

    /// The same where the content lies in its place already.
    pub(super) fn seal_in_place(&mut self, kind: ContentType, place: &mut [u8]) -> Result<(), Error> {
        let (header, body, tail) = lay_out(place);
        let nonce = Nonce::assume_unique_for_key(next_nonce(&self.iv, &mut self.sequence));
        let sealed = self.key.seal_in_place_scatter(nonce, Aad::from(header), body, &[kind.into()], tail);
        sealed.map_err(|_| Error::EncryptError)
    }

    /// Opens a whole record that [was let in](length_of): what its content is, and how many bytes of the place hold it. The
    /// place has [room](room_for) for that.
    pub(super) fn open(&mut self, record: &[u8], place: &mut [u8]) -> Result<(ContentType, usize), Error> {
        let (header, sealed) = record.split_at(HEADER_BYTES);
        let (sealed, tag) = sealed.split_at(sealed.len() - TAG_BYTES);
        let nonce = Nonce::assume_unique_for_key(next_nonce(&self.iv, &mut self.sequence));
        let opened = self.key.open_separate_gather(nonce, Aad::from(header), sealed, tag, place);
        opened.map_err(|_| Error::DecryptError)?;
        if place.len() > INNER_BYTES_MAX {
            return Err(Error::PeerSentOversizedRecord);
        }
        // Behind the type there are only zeros (section 5.4), which cost a look each.
        let end = place.iter().rposition(|byte| *byte != 0).ok_or(PeerMisbehaved::IllegalTlsInnerPlaintext)?;
        Ok((place[end].into(), end))
    }
}

/// Bytes of a record with this header, if it may come once there are keys. The version says nothing (section 5.1).
pub(super) fn length_of(header: &[u8; HEADER_BYTES]) -> Result<usize, Error> {
    let [kind, _, _, high, low] = *header;
    let sealed = usize::from(u16::from_be_bytes([high, low]));
    match ContentType::from(kind) {
        ContentType::ApplicationData if sealed > SEALED_BYTES_MAX => Err(Error::PeerSentOversizedRecord),
        // No key has made that.
        ContentType::ApplicationData if sealed <= TAG_BYTES => Err(Error::DecryptError),
        ContentType::ApplicationData => Ok(HEADER_BYTES + sealed),
        got_type => Err(Error::InappropriateMessage { expect_types: vec![ContentType::ApplicationData], got_type }),
    }
}

/// Bytes of the place into which so long a record is opened.
pub(super) fn room_for(record_bytes: usize) -> usize {
    record_bytes - HEADER_BYTES - TAG_BYTES
}

/// A record's header, which is written, and the places for its content and for what follows that.
fn lay_out(place: &mut [u8]) -> ([u8; HEADER_BYTES], &mut [u8], &mut [u8]) {
    let sealed = place.len() - HEADER_BYTES;
    let [high, low] = (sealed as u16).to_be_bytes();
    // As TLS 1.2 wrote its data (section 5.2).
    let header = [ContentType::ApplicationData.into(), 3, 3, high, low];
    let (first, rest) = place.split_at_mut(HEADER_BYTES);
    first.copy_from_slice(&header);
    let (body, tail) = rest.split_at_mut(sealed - 1 - TAG_BYTES);
    (header, body, tail)
}

/// A nonce of its own for each record (section 5.3). Keys are updated long before 64 bits have been counted through.
fn next_nonce(iv: &[u8; NONCE_LEN], sequence: &mut u64) -> [u8; NONCE_LEN] {
    let mut nonce = *iv;
    let places = nonce[NONCE_LEN - size_of::<u64>()..].iter_mut();
    places.zip(sequence.to_be_bytes()).for_each(|(place, byte)| *place ^= byte);
    *sequence += 1;
    nonce
}
