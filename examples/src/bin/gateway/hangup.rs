//! SIGHUP, where there is one: the only thing here that systems have and others have not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether SIGHUP has come since this was last asked.
#[derive(Clone, Debug)]
pub(crate) struct Hangup(Arc<AtomicBool>);

impl Hangup {
    /// Watches from now on. Without it the signal would end the process.
    pub(crate) fn watch() -> std::io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        #[cfg(unix)]
        signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&flag))?;
        Ok(Hangup(flag))
    }

    pub(crate) fn has_come(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}
