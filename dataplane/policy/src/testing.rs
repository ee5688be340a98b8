//! Requests and contexts for tests.

use std::sync::Arc;

use agentgateway_upstream::{Cluster, Upstream};
use http::Request;
use http::request::Parts;

use crate::{RequestContext, Services};

pub(crate) fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut builder = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).expect("a request").into_parts().0
}

pub(crate) fn context() -> RequestContext {
    RequestContext::new("10.0.0.1:1000".parse().expect("an address"), "http", 80)
}

/// No service and no body.
pub(crate) struct Nothing;

impl Services for Nothing {
    fn upstream(&self) -> &Upstream {
        unreachable!("without a cluster nothing is sent")
    }

    fn cluster(&self, _: &str) -> Option<Arc<Cluster>> {
        None
    }

    fn random_below(&self, _: u64) -> u64 {
        0
    }
}
