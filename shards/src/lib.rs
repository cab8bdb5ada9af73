//! What one core does.
