//! What a peer can do wrong, and what it is told.
//!
//! The one idea: an error is one byte. Its variant says what and where; the status and the text for the peer follow
//! from it here and nowhere else.

use std::fmt;

use http::StatusCode;

macro_rules! errors {
    ($($variant:ident, $status:ident, $text:literal, $clause:literal;)+) => {
        /// A fault of the peer. Nothing it sends afterwards is looked at: where one message is in doubt, so is every
        /// boundary after it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Error {
            $(#[doc = concat!($text, " (", $clause, ")")] $variant,)+
        }

        impl Error {
            /// The status to answer with.
            pub const fn status(self) -> StatusCode {
                match self { $(Error::$variant => StatusCode::$status,)+ }
            }

            /// What was wrong and where, in words for the peer: the body of the answer.
            pub const fn text(self) -> &'static str {
                match self { $(Error::$variant => $text,)+ }
            }
        }
    };
}

errors! {
    // Lines.
    BareLf, BAD_REQUEST, "a line ends in LF without CR", "RFC 9112 section 2.2";
    BareCr, BAD_REQUEST, "a CR is not followed by LF", "RFC 9112 section 2.2";
    EmptyLines, BAD_REQUEST, "too many empty lines before the request line", "RFC 9112 section 2.2";
    Method, BAD_REQUEST, "the request line does not begin with a method and one space", "RFC 9112 section 3";
    MethodTooLong, NOT_IMPLEMENTED, "the method is longer than any known here", "RFC 9112 section 3";
    Target, BAD_REQUEST, "the request target holds a character that must be percent-encoded, or is empty", "RFC 9112 section 3.2";
    TargetTooLong, URI_TOO_LONG, "the request target is too long", "RFC 9112 section 3";
    TargetForm, BAD_REQUEST, "the form of the request target does not fit the method", "RFC 9112 section 3.2";
    TargetAuthority, BAD_REQUEST, "the host or port in the request target is malformed", "RFC 9110 section 4.2";
    Version, BAD_REQUEST, "the request line does not end in one space and HTTP/1.1", "RFC 9112 section 2.3";
    VersionNotSupported, HTTP_VERSION_NOT_SUPPORTED, "this HTTP version is not spoken here", "RFC 9110 section 15.6.6";
    StatusLine, BAD_GATEWAY, "the status line is malformed", "RFC 9112 section 4";
    // Fields.
    FieldName, BAD_REQUEST, "a field name is empty, or holds a character that is not allowed", "RFC 9110 section 5.1";
    FieldColon, BAD_REQUEST, "a field line has white space before its colon, or no colon", "RFC 9112 section 5.1";
    FieldValue, BAD_REQUEST, "a field value holds a control character", "RFC 9110 section 5.5";
    LineFolding, BAD_REQUEST, "a header line begins with white space", "RFC 9112 section 5.2";
    HeadTooLong, REQUEST_HEADER_FIELDS_TOO_LARGE, "the header section is too long", "RFC 6585 section 5";
    TooManyFields, REQUEST_HEADER_FIELDS_TOO_LARGE, "there are too many header fields", "RFC 6585 section 5";
    HostMissing, BAD_REQUEST, "there is no Host field", "RFC 9112 section 3.2";
    HostRepeated, BAD_REQUEST, "there is more than one Host field", "RFC 9112 section 3.2";
    Host, BAD_REQUEST, "the Host field is malformed", "RFC 9112 section 3.2";
    Expectation, EXPECTATION_FAILED, "the Expect field asks for something other than 100-continue", "RFC 9110 section 10.1.1";
    // Framing.
    LengthMalformed, BAD_REQUEST, "Content-Length is not a decimal number in range", "RFC 9110 section 8.6";
    LengthRepeated, BAD_REQUEST, "there is more than one Content-Length", "RFC 9112 section 6.3";
    LengthWithCoding, BAD_REQUEST, "there are both Content-Length and Transfer-Encoding", "RFC 9112 section 6.1";
    CodingInOldVersion, BAD_REQUEST, "Transfer-Encoding needs HTTP/1.1", "RFC 9112 section 6.1";
    CodingNotChunked, BAD_REQUEST, "Transfer-Encoding does not end in exactly one chunked", "RFC 9112 section 6.3";
    CodingUnknown, NOT_IMPLEMENTED, "Transfer-Encoding names a coding that is not implemented here", "RFC 9112 section 6.1";
    ChunkSize, BAD_REQUEST, "a chunk size is not a hexadecimal number in range", "RFC 9112 section 7.1";
    ChunkExtension, BAD_REQUEST, "a chunk extension is malformed", "RFC 9112 section 7.1.1";
    ChunkExtensionsTooLong, BAD_REQUEST, "the chunk extensions are too long", "RFC 9112 section 7.1.1";
    ChunkEnd, BAD_REQUEST, "the data of a chunk is not followed by CR LF", "RFC 9112 section 7.1";
    TrailerField, BAD_REQUEST, "a field in the trailer section is not allowed there", "RFC 9110 section 6.5.1";
    TrailersTooLong, REQUEST_HEADER_FIELDS_TOO_LARGE, "the trailer section is too long", "RFC 9112 section 7.1.2";
    TooManyTrailers, REQUEST_HEADER_FIELDS_TOO_LARGE, "there are too many trailer fields", "RFC 9112 section 7.1.2";
    Incomplete, BAD_REQUEST, "the connection ended in the middle of a message", "RFC 9112 section 8";
    Unexpected, BAD_GATEWAY, "the server answers what it was not asked", "RFC 9112 section 9.2";
    TooManyInterims, BAD_GATEWAY, "there are too many interim responses", "RFC 9110 section 15.2";
    // Those that the engine cannot see: raised by who has the clock, and knows the stream and the handler.
    Misdirected, MISDIRECTED_REQUEST, "a resource of https is asked for in the clear", "RFC 9110 section 7.4";
    InTheClear, BAD_REQUEST, "this port speaks TLS, and was spoken to in the clear", "RFC 9110 section 4.2.2";
    HeadTimeout, REQUEST_TIMEOUT, "the request's head did not arrive in time", "RFC 9110 section 15.5.9";
    BodyTimeout, REQUEST_TIMEOUT, "the request's body did not arrive in time", "RFC 9110 section 15.5.9";
    BodyTooLong, PAYLOAD_TOO_LARGE, "the request's body is too long", "RFC 9110 section 15.5.14";
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Error {}

const _: () = assert!(size_of::<Error>() == 1);
