//! Authorization by HTTP: the head of the request is sent to the service, which lets it pass by answering 200.

use std::sync::Arc;

use agentgateway_callout::{Error, exchange};
use agentgateway_proto::v1;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use serde_json::Map;

use super::changes::{Change, Changes};
use super::{Decision, Question, is_framing, names};
use crate::{Reason, Reply, context};

/// Headers of an answer that speak of its own body.
const OF_THE_BODY: [HeaderName; 4] = [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::DATE, header::SERVER];

/// A compiled protocol.
#[derive(Debug)]
pub(super) struct Http {
    /// Without a slash at its end.
    path_prefix: String,
    allowed_headers: Box<[HeaderName]>,
    /// Empty: all but those of the answer's body.
    allowed_response_headers: Box<[HeaderName]>,
}

impl Http {
    pub(super) fn compile(spec: &v1::external_authorization::Http) -> Result<Http, String> {
        let prefix = spec.path_prefix.trim_end_matches('/');
        let is_path = prefix.is_empty() || prefix.starts_with('/') && prefix.parse::<PathAndQuery>().is_ok();
        if !is_path || prefix.contains(['?', '#']) {
            return Err(format!("{:?} is not a path", spec.path_prefix));
        }
        Ok(Http {
            path_prefix: prefix.to_owned(),
            allowed_headers: names(&spec.allowed_headers)?,
            allowed_response_headers: names(&spec.allowed_response_headers)?,
        })
    }

    pub(super) async fn ask(&self, question: &Question<'_>, origin: &Arc<str>) -> Result<Decision, Error> {
        let request = self.request(question)?;
        let answer = exchange(question.services.upstream(), &question.cluster, request, question.limit).await?;
        match answer.status() {
            StatusCode::OK => Ok(Decision::Allowed(Arc::new(self.changes(&answer)))),
            status if status.is_server_error() => Err(Error::Answer(format!("HTTP status {status}"))),
            _ => Ok(Decision::Denied(Box::new(deny(answer, origin)), Map::new())),
        }
    }

    fn request(&self, question: &Question<'_>) -> Result<Request<Bytes>, Error> {
        let head = question.head;
        let body = question.body.map(|body| body.bytes.clone()).unwrap_or_default();
        let path = head.uri.path_and_query().map_or("/", |p| p.as_str());
        let uri: Uri = format!("{}{path}", self.path_prefix).parse().map_err(|e| Error::Answer(format!("{e}")))?;
        let mut request = Request::new(body);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = uri;
        let length = request.body().len();
        let headers = request.headers_mut();
        for name in self.allowed_headers.iter().filter(|name| !is_framing(name)) {
            headers.extend(head.headers.get_all(name).iter().map(|value| (name.clone(), value.clone())));
        }
        // Authentication has taken it off the request.
        let credentials = head.headers.get(header::AUTHORIZATION).or(question.context.credentials.authorization());
        if let Some(credentials) = credentials {
            headers.insert(header::AUTHORIZATION, credentials.clone());
        }
        if let Ok(host) = HeaderValue::from_str(context::authority(head)) {
            headers.insert(header::HOST, host);
        }
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        Ok(request)
    }

    fn changes(&self, answer: &Response<Bytes>) -> Changes {
        let is_copied = |name: &HeaderName| match &*self.allowed_response_headers {
            [] => !OF_THE_BODY.contains(name),
            allowed => allowed.contains(name),
        };
        let mut changes = Vec::new();
        for name in answer.headers().keys().filter(|name| is_copied(name)) {
            let mut values = answer.headers().get_all(name).iter();
            changes.extend(values.next().map(|first| Change::Set(name.clone(), first.clone())));
            changes.extend(values.map(|next| Change::Add(name.clone(), next.clone())));
        }
        Changes::new(changes, Vec::new(), Map::new())
    }
}

/// The service's answer is the client's: it may be a redirect to a login, or a challenge.
fn deny(mut answer: Response<Bytes>, origin: &Arc<str>) -> Reply {
    let framing: Vec<HeaderName> = answer.headers().keys().filter(|name| is_framing(name)).cloned().collect();
    for name in framing {
        answer.headers_mut().remove(name);
    }
    if answer.status().is_success() || answer.status().is_informational() {
        // Only 200 lets a request pass, and nothing else may look as if it had.
        *answer.status_mut() = StatusCode::FORBIDDEN;
    }
    Reply { response: answer, reason: Reason::ExternallyDenied(Arc::clone(origin)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(path: &str, response: &[&str]) -> Result<Http, String> {
        Http::compile(&v1::external_authorization::Http {
            path_prefix: path.into(),
            allowed_headers: vec![],
            allowed_response_headers: response.iter().map(ToString::to_string).collect(),
        })
    }

    fn applied(http: &Http) -> http::HeaderMap {
        let answer = Response::builder()
            .header("x-user", "ada")
            .header("x-role", "a")
            .header("x-role", "b")
            .header("content-type", "text/plain")
            .header("content-length", "3")
            .header("connection", "close");
        let mut headers = http::HeaderMap::new();
        headers.insert("x-user", HeaderValue::from_static("forged"));
        http.changes(&answer.body(Bytes::new()).expect("answer")).apply(&mut headers);
        headers
    }

    #[test]
    fn the_request_gets_the_answers_headers() {
        let all = applied(&compile("", &[]).expect("compiles"));
        assert_eq!(all["x-user"], "ada", "what the client claimed is gone");
        assert_eq!(all.get_all("x-role").iter().count(), 2);
        assert_eq!(all.len(), 3, "nothing of the answer's own framing: {all:?}");
        let some = applied(&compile("", &["X-Role", "content-length"]).expect("compiles"));
        assert_eq!((some["x-user"].as_bytes(), some.len()), (&b"forged"[..], 3));
    }

    #[test]
    fn prefixes_are_paths() {
        assert_eq!(compile("/auth/", &[]).expect("compiles").path_prefix, "/auth");
        for bad in ["auth", "/a?b", "/a b", "/a#b"] {
            assert!(compile(bad, &[]).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_denial_looks_like_success() {
        let answer = |status| Response::builder().status(status).header("location", "/login").body(Bytes::new());
        let denied = |status| deny(answer(status).expect("answer"), &"o".into()).response;
        assert_eq!(denied(302).headers()["location"], "/login");
        assert_eq!((denied(302).status().as_u16(), denied(204).status().as_u16()), (302, 403));
    }
}
