//! TLS on a connection.

#![allow(dead_code)]

mod session;
