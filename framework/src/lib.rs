//! A thread-per-core server framework.
