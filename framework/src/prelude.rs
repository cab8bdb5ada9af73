//! What almost every server names: `use shardwise::prelude::*;`.

pub use crate::http::{HeaderMap, Method, StatusCode, Uri};
pub use crate::{
    App, Body, Bytes, Form, Handler, Html, Json, Next, Path, PerShard, Query, Request, Respond, Response, Result,
    ScopeHandle, Shard, State, TraceContext, Wait, green,
};
