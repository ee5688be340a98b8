//! Heads of requests to providers, and what of a provider's answer goes to the client.

use agentgateway_pipeline::remove_hop_by_hop;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};

use crate::provider::Provider;

/// What concerns this connection or this gateway, and no provider.
const NOT_FOR_PROVIDERS: [HeaderName; 13] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::ACCEPT,
    // Answers are read.
    header::ACCEPT_ENCODING,
    header::EXPECT,
    header::FORWARDED,
    header::ORIGIN,
    header::REFERER,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-real-ip"),
];

/// What goes on where the provider speaks another API than the client.
const FOR_ALL: [HeaderName; 4] = [
    header::USER_AGENT,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
];

/// What of a provider's answer concerns its own connection or domain.
const NOT_FOR_CLIENTS: [HeaderName; 6] = [
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::SET_COOKIE,
    header::ALT_SVC,
    header::STRICT_TRANSPORT_SECURITY,
];

/// Query parameters that are the gateway's to set, or a key.
const NOT_IN_QUERY: [&str; 3] = ["key", "alt", "api-version"];

/// The client's headers as far as a provider gets them, which speaks the `same` API or another one.
pub(crate) fn for_provider(client: &HeaderMap, same: bool) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    if same {
        headers.clone_from(client);
        remove_hop_by_hop(&mut headers);
        NOT_FOR_PROVIDERS.iter().for_each(|name| drop(headers.remove(name)));
        return headers;
    }
    for name in &FOR_ALL {
        if let Some(value) = client.get(name) {
            headers.insert(name, value.clone());
        }
    }
    headers
}

/// A request to a provider, without its key.
///
/// # Errors
/// The path is none: the model's name, or what the client asked for, has characters that no path has.
pub(crate) fn request(
    provider: &Provider,
    method: Method,
    mut headers: HeaderMap,
    target: &str,
) -> Result<Parts, &'static str> {
    let target: PathAndQuery = target.try_into().map_err(|_| "the path is not valid")?;
    headers.insert(header::HOST, provider.host.clone());
    for (name, value) in &provider.headers {
        headers.insert(name, value.clone());
    }
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = method;
    head.uri = Uri::from(target);
    head.headers = headers;
    Ok(head)
}

/// Path and query at the provider for a path of its API.
pub(crate) fn target(provider: &Provider, path: &str, generates: bool, client_query: Option<&str>) -> String {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut target = match &provider.full_path {
        Some(full) if generates => full.to_string(),
        _ => format!("{}{path}", provider.base_path),
    };
    let client = client_query.into_iter().flat_map(|query| query.split('&')).filter(|pair| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        !name.is_empty() && !NOT_IN_QUERY.contains(&name)
    });
    let mut separator = if target.contains('?') { '&' } else { '?' };
    for part in query.into_iter().chain(provider.query.as_deref()).chain(client) {
        target.push(separator);
        target.push_str(part);
        separator = '&';
    }
    target
}

/// The headers of a provider's answer as far as the client gets them.
pub(crate) fn for_client(mut headers: HeaderMap, same: bool) -> HeaderMap {
    remove_hop_by_hop(&mut headers);
    NOT_FOR_CLIENTS.iter().for_each(|name| drop(headers.remove(name)));
    if same {
        return headers;
    }
    let mut few = HeaderMap::new();
    for (name, value) in &headers {
        if *name == header::RETRY_AFTER || matches!(name.as_str(), "x-request-id" | "request-id") {
            few.append(name, value.clone());
        }
    }
    few
}

/// The content type of JSON.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
