//! [`Site`]: a configuration as one shard serves by it; and [`Running`], which one that is at the moment.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use shardwise::{Result, Shard};

use crate::config::Config;
use crate::table::Table;
use crate::upstream::Upstream;

/// A configuration, and what this shard has made of it.
pub(crate) struct Site {
    pub(crate) config: Arc<Config>,
    pub(crate) table: Table,
    /// In the order of the configuration's.
    pub(crate) upstreams: Vec<Rc<Upstream>>,
}

/// What requests that come now are answered by. Requests in hand keep the site that they came under, which goes with the last.
#[derive(Clone)]
pub(crate) struct Running(Rc<RefCell<Rc<Site>>>);

impl Running {
    /// Errors: see [`Site::new`].
    pub(crate) fn new(shard: &Shard, config: &Arc<Config>) -> Result<Self> {
        Ok(Running(Rc::new(RefCell::new(Site::new(shard, config, &[])?))))
    }

    pub(crate) fn site(&self) -> Rc<Site> {
        Rc::clone(&self.0.borrow())
    }

    /// Serves by another configuration from now on. Upstreams that it says nothing new of go on with their connections.
    ///
    /// Errors: see [`Site::new`]; the former goes on.
    pub(crate) fn take_over(&self, shard: &Shard, config: &Arc<Config>) -> Result<()> {
        let site = Site::new(shard, config, &self.site().upstreams)?;
        let former = self.0.replace(site);
        drop(former);
        Ok(())
    }
}

impl Site {
    /// Errors: an upstream cannot be as it is declared.
    fn new(shard: &Shard, config: &Arc<Config>, known: &[Rc<Upstream>]) -> Result<Rc<Self>> {
        let upstreams =
            config.upstreams.iter().map(|wanted| match known.iter().find(|known| Arc::ptr_eq(&known.config, wanted)) {
                Some(known) => Ok(Rc::clone(known)),
                None => Upstream::new(shard, wanted),
            });
        let upstreams = upstreams.collect::<Result<_>>()?;
        Ok(Rc::new(Site { table: Table::new(&config.routes), upstreams, config: Arc::clone(config) }))
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running({} routes)", self.0.borrow().config.routes.len())
    }
}
