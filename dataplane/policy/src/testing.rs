//! Requests and contexts for tests.

use http::Request;
use http::request::Parts;

use crate::RequestContext;

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
