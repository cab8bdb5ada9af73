//! Every bound of the HTTP/1.1 engines, with its reason.

/// What one peer may make us hold or search. Sections are indexed by 16-bit positions, so the types are the upper
/// bounds. The length of a body is not bounded here: it is offered up front, and only the handler knows what it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The request or status line and the header section, with the empty line that ends it: 431. Browsers stay under
    /// 8 KiB unless cookies pile up; a head that straddles buffers is copied once, into one large chunk.
    pub head_bytes_max: u16,
    /// The request target: 414. RFC 9112 section 3 recommends at least 8,000 bytes.
    pub target_bytes_max: u16,
    /// The method: 501. The longest registered one (`UPDATEREDIRECTREF`) has 17 bytes.
    pub method_bytes_max: u8,
    /// Header fields: 431. Bounds the table and whatever a handler does once a field.
    pub field_count_max: u16,
    /// Empty lines before a request line (RFC 9112 section 2.2): 400. Old clients send one after a body.
    pub empty_line_count_max: u8,
    /// Chunk extensions, over a whole body: 400. Nobody reads them, and they are not counted as body.
    pub chunk_extension_bytes_max: u16,
    /// The trailer section: 431.
    pub trailer_bytes_max: u16,
    /// Trailer fields: 431.
    pub trailer_count_max: u16,
    /// Interim responses before the response proper, to a client. `100` and a `103` or two are what there is.
    pub interim_count_max: u8,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes_max: 16 * 1024,
            target_bytes_max: 8 * 1024,
            method_bytes_max: 24,
            field_count_max: 100,
            empty_line_count_max: 4,
            chunk_extension_bytes_max: 4 * 1024,
            trailer_bytes_max: 4 * 1024,
            trailer_count_max: 32,
            interim_count_max: 16,
        }
    }
}

/// Digits of a chunk size, leading zeros included: as many as a 64-bit length has.
pub(crate) const CHUNK_SIZE_DIGITS_MAX: u8 = 16;

/// What framing a piece of body, or ending it, writes at the most: sixteen digits and a line end, or the last chunk. See
/// [`Server::data`](super::Server::data) and [`Server::finish`](super::Server::finish).
pub const FRAME_BYTES_MAX: usize = CHUNK_SIZE_DIGITS_MAX as usize + 2;
