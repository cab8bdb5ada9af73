//! What all readiness backends share.

pub(super) mod files;
