//! One session's way to one target: a handshake that was made, and what was agreed in it.

pub(crate) mod http;
pub(crate) mod openapi;
pub(crate) mod peer;
pub(crate) mod process;
pub(crate) mod sse;
pub(crate) mod stdio;

use std::sync::Arc;

use crate::capabilities::Features;

/// Cheap to clone; any thread may use it.
#[derive(Debug, Clone)]
pub(crate) enum Link {
    Http(Arc<http::HttpLink>),
    Sse(Arc<sse::SseLink>),
    Stdio(Arc<stdio::StdioLink>),
    Api(Arc<openapi::ApiLink>),
}

impl Link {
    /// Whether it is worth a try: a server over HTTP is asked to know, a process or stream is gone when it has ended.
    pub(crate) fn is_alive(&self) -> bool {
        match self {
            Self::Http(_) | Self::Api(_) => true,
            Self::Sse(link) => !link.peer.is_closed(),
            Self::Stdio(link) => !link.peer.is_closed(),
        }
    }

    pub(crate) fn features(&self) -> Features {
        match self {
            Self::Http(link) => link.features,
            Self::Sse(link) => link.features,
            Self::Stdio(link) => link.features,
            Self::Api(link) => link.features,
        }
    }

    /// Whether the server speaks the stateless protocol.
    pub(crate) fn is_modern(&self) -> bool {
        match self {
            Self::Http(link) => link.version.is_modern(),
            Self::Sse(_) | Self::Api(_) => false,
            Self::Stdio(link) => link.version.is_modern(),
        }
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http(a), Self::Http(b)) => Arc::ptr_eq(a, b),
            (Self::Sse(a), Self::Sse(b)) => Arc::ptr_eq(a, b),
            (Self::Stdio(a), Self::Stdio(b)) => Arc::ptr_eq(a, b),
            (Self::Api(a), Self::Api(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}
