//! [`Route`]: a handler where it is mounted, with what is decided once for all its requests.

use std::rc::Rc;

use crate::handler::{Alone, Endpoint};
use crate::metrics::RouteMetrics;
use crate::site::Site;

/// One route of one shard.
pub(crate) struct Route {
    /// The path as it was declared; empty for what answers requests that no route was found for.
    pub(crate) pattern: Box<str>,
    /// The names of the path's parameters, in order.
    pub(crate) parameters: Box<[Box<str>]>,
    pub(crate) endpoint: Box<dyn Endpoint>,
    /// What the endpoint does without a request, if it takes nothing of one.
    pub(crate) alone: Option<Alone>,
    /// Bytes that extractors may gather of a body.
    pub(crate) body_bytes_max: u64,
    pub(crate) metrics: RouteMetrics,
    /// What all routes of the app share.
    pub(crate) site: Rc<Site>,
}
