//! [`Guest`]: an app in somebody else's event loop, for moving a service over step by step.
//!
//! A thin layer over [`shards::Guest`], as [`Runtime`](crate::Runtime) is one over the shards' own: it joins each guest to the
//! store of metrics and starts the admin listener. Logging is the host's own, and so are signals.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use platform::Bell;
use shards::{Host, Outside, Phase, Remote, Shard};

use crate::admin::Admin;
use crate::metrics::{self, ShardMetrics, Store};
use crate::runtime::{Builder, Watch};
use crate::{Error, Result};

/// A shard that lives in a host's event loop: a tokio runtime, a glommio executor, or what implements [`Host`].
///
/// Dropping it ends the shard at once. `remote().send(Shard::drain)` ends it in order: what is in hand is finished.
///
/// ```
/// use shardwise::prelude::*;
/// use shardwise::{AfterTurn, Host};
/// # struct Now;
/// # impl Host for Now {
/// #     async fn wait(&mut self, _: AfterTurn) {}
/// # }
///
/// let guest = shardwise::Runtime::builder().guest()?;
/// let remote = guest.remote();
/// let app = || App::new().get("/", || "hello");
/// let life = guest.run(Now, async move |_| app().serve("127.0.0.1:0").await);
/// // A host awaits it among its own tasks, and ends it when it likes:
/// remote.send(Shard::drain)?;
/// # let mut life = std::pin::pin!(life);
/// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// # while life.as_mut().poll(&mut cx).is_pending() {}
/// # Ok::<_, shardwise::Error>(())
/// ```
pub struct Guest {
    guest: shards::Guest,
    company: Arc<Company>,
}

/// A place for a guest, to be taken up on the thread where it is to live. If it is dropped instead, the others wait for it no
/// more.
pub struct Invitation {
    invitation: shards::Invitation,
    company: Arc<Company>,
}

/// What guests that were invited together share.
struct Company {
    store: Arc<Store>,
    is_draining: Arc<AtomicBool>,
    _admin: Option<Admin>,
}

impl Builder {
    /// One shard as a guest on this thread. How many shards, where they run, signals and spinning are no matter to it.
    ///
    /// Errors: the backend or the admin listener cannot be had; the text says why.
    pub fn guest(self) -> Result<Guest> {
        self.guests(1)?.remove(0).accept()
    }

    /// Shards as guests on `count` threads, with a mesh between them, and one address that all of them serve. Each must be
    /// [accepted](Invitation::accept) or dropped.
    ///
    /// Errors: the backend or the admin listener cannot be had; the text says why.
    pub fn guests(self, count: usize) -> Result<Vec<Invitation>> {
        let Builder { shards, admin } = self;
        let store = Store::new();
        metrics::install(&store);
        let is_draining = Arc::new(AtomicBool::new(false));
        let invitations = shards.guests(count)?;
        let admin = match admin {
            Some(address) => {
                let flag = Arc::clone(&is_draining);
                let watch = Watch::new(&store, count, move || match flag.load(Ordering::Acquire) {
                    false => Phase::Serving,
                    true => Phase::Draining,
                });
                let open = || std::net::TcpListener::bind(address).map(Outside::from);
                let admin = Admin::start(address, open, Arc::new(watch)).map_err(Error::new)?;
                tracing::info!("admin http://{}", admin.address());
                Some(admin)
            }
            None => None,
        };
        let company = Arc::new(Company { store, is_draining, _admin: admin });
        let invite = |invitation| Invitation { invitation, company: Arc::clone(&company) };
        Ok(invitations.into_iter().map(invite).collect())
    }
}

impl Invitation {
    /// Brings the guest to life on this thread.
    ///
    /// Errors: the backend cannot be had, or cannot be waited for by others (Windows); the text says why.
    pub fn accept(self) -> Result<Guest> {
        let guest = self.invitation.accept()?;
        ShardMetrics::join(guest.shard(), &self.company.store);
        Ok(Guest { guest, company: self.company })
    }
}

impl Guest {
    /// A handle on the shard for whoever is not one of its tasks, on this thread or another.
    pub fn remote(&self) -> Remote {
        self.guest.remote()
    }

    /// What the host waits for: readable when the guest has something to do. Each call gives a descriptor more for the same.
    ///
    /// Errors: no descriptor is left.
    pub fn bell(&self) -> Result<Bell> {
        Ok(self.guest.bell()?)
    }

    /// Runs `main` in the host's event loop, and ends when it has ended on all guests that were invited together: by itself,
    /// or because it was told to drain. Dropping it drops the guest.
    ///
    /// Errors: `main` failed or panicked, and then the others drain; or the drain took longer than it may.
    pub async fn run<E, F>(self, host: impl Host, main: F) -> Result<()>
    where
        E: fmt::Display + 'static,
        F: AsyncFnOnce(Shard) -> Result<(), E> + 'static,
    {
        let Guest { guest, company } = self;
        let is_draining = Arc::clone(&company.is_draining);
        let main = async move |shard: Shard| {
            let watched = shard.clone();
            let watch = async move {
                watched.drained().await;
                is_draining.store(true, Ordering::Release);
            };
            shard.spawn(watch).map_err(|error| error.to_string())?.detach();
            main(shard).await.map_err(|error| error.to_string())
        };
        Ok(guest.run(host, main).await?)
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.guest.fmt(f)
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.invitation.fmt(f)
    }
}
