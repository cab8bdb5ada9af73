//! The attribute macros of shardwise.
