//! Envoy's authorization service, `envoy.service.auth.v3.Authorization`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use agentgateway_callout::auth::{
    self, Address, AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValueOption, SocketAddress,
    Timestamp, address, attribute_context, check_response::HttpResponse, header_value_option::HeaderAppendAction,
};
use agentgateway_callout::processor::Struct;
use agentgateway_callout::{Error, unary};
use agentgateway_proto::v1;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, Version, header};
use prost::Message;
use serde_json::{Map, Value};

use super::changes::{Change, Changes};
use super::{Decision, Question, is_framing, names};
use crate::context;
use crate::ext_proc::struct_to_json;
use crate::limits::MAX_LEFT_METADATA_BYTES;
use crate::{Reason, Reply};

/// A compiled protocol.
#[derive(Debug)]
pub(super) struct Grpc {
    /// Empty: all.
    allowed_headers: Box<[HeaderName]>,
    context_extensions: BTreeMap<String, String>,
    /// None: the name of the service's backend.
    authority: Option<HeaderValue>,
}

impl Grpc {
    pub(super) fn compile(spec: &v1::external_authorization::Grpc) -> Result<Grpc, String> {
        let context_extensions = spec.context_extensions.clone();
        let authority = match spec.authority.as_str() {
            "" => None,
            name => {
                let parsed = name.parse::<http::uri::Authority>().ok().and_then(|_| HeaderValue::from_str(name).ok());
                Some(parsed.ok_or_else(|| format!("{name:?} is not a host name"))?)
            }
        };
        Ok(Grpc { allowed_headers: names(&spec.allowed_headers)?, context_extensions, authority })
    }

    pub(super) async fn ask(&self, question: &Question<'_>, origin: &Arc<str>) -> Result<Decision, Error> {
        let (upstream, limit) = (question.services.upstream(), question.limit);
        let request = self.request(question);
        let authority = self.authority.as_ref();
        let answer: CheckResponse = unary(upstream, &question.cluster, auth::CHECK, authority, &request, limit).await?;
        decide(answer, origin)
    }

    fn request(&self, question: &Question<'_>) -> CheckRequest {
        let (head, context) = (question.head, question.context);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let length = head.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
        let (body, raw_body) = match question.body.map(|body| (std::str::from_utf8(&body.bytes), &body.bytes)) {
            Some((Ok(text), _)) => (text.to_owned(), Bytes::new()),
            Some((Err(_), bytes)) => (String::new(), bytes.clone()),
            None => (String::new(), Bytes::new()),
        };
        let http = attribute_context::HttpRequest {
            id: head.headers.get("x-request-id").map(lossy).unwrap_or_default(),
            method: head.method.to_string(),
            headers: self.headers(question),
            path: head.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
            host: context::authority(head).to_owned(),
            scheme: context.scheme.to_owned(),
            size: length.unwrap_or(-1),
            protocol: if head.version == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" }.to_owned(),
            body,
            raw_body,
        };
        let address =
            SocketAddress { address: context.source.ip().to_string(), port_value: context.source.port().into() };
        let address = Address { address: Some(address::Address::SocketAddress(address)) };
        let time = Timestamp {
            seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(now.subsec_nanos()).unwrap_or_default(),
        };
        CheckRequest {
            attributes: Some(AttributeContext {
                source: Some(attribute_context::Peer { address: Some(address) }),
                request: Some(attribute_context::Request { time: Some(time), http: Some(http) }),
                context_extensions: self.context_extensions.clone(),
            }),
        }
    }

    fn headers(&self, question: &Question<'_>) -> BTreeMap<String, String> {
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        let mut add = |name: &HeaderName, value: &HeaderValue| {
            if !self.allowed_headers.is_empty() && !self.allowed_headers.contains(name) {
                return;
            }
            let value = lossy(value);
            headers.entry(name.as_str().to_owned()).and_modify(|all| *all = format!("{all},{value}")).or_insert(value);
        };
        question.head.headers.iter().for_each(|(name, value)| add(name, value));
        // Authentication has taken it off the request.
        if let Some(credentials) = question.context.credentials.authorization()
            && !question.head.headers.contains_key(header::AUTHORIZATION)
        {
            add(&header::AUTHORIZATION, credentials);
        }
        if let Some(body) = question.body {
            headers.insert("x-envoy-auth-partial-body".to_owned(), body.is_partial.to_string());
        }
        headers
    }
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn decide(answer: CheckResponse, origin: &Arc<str>) -> Result<Decision, Error> {
    let metadata = left(answer.dynamic_metadata)?;
    let allowed = answer.status.as_ref().is_none_or(|status| status.code == 0);
    match (allowed, answer.http_response) {
        (true, None) => Ok(Decision::Allowed(Arc::new(Changes::new(Vec::new(), Vec::new(), metadata)))),
        (true, Some(HttpResponse::OkResponse(ok))) => {
            let mut request: Vec<Change> =
                ok.headers_to_remove.iter().filter_map(|n| n.parse().ok().map(Change::Remove)).collect();
            request.extend(ok.headers.iter().filter_map(|h| change(h, false)));
            let response = ok.response_headers_to_add.iter().filter_map(|h| change(h, true)).collect();
            Ok(Decision::Allowed(Arc::new(Changes::new(request, response, metadata))))
        }
        (true, Some(HttpResponse::DeniedResponse(_))) => {
            Err(Error::Answer("it allows the request and holds a response that denies it".into()))
        }
        (false, Some(HttpResponse::DeniedResponse(denied))) => {
            Ok(Decision::Denied(Box::new(deny(denied, origin)), metadata))
        }
        (false, _) => Ok(Decision::Denied(Box::new(deny(DeniedHttpResponse::default(), origin)), metadata)),
    }
}

/// What the service leaves for policies after this one, and for logs.
fn left(encoded: Bytes) -> Result<Map<String, Value>, Error> {
    if encoded.len() > MAX_LEFT_METADATA_BYTES {
        return Err(Error::Answer("it leaves too much metadata".into()));
    }
    let left = Struct::decode(encoded).map_err(|error| Error::Answer(format!("its metadata: {error}")))?;
    Ok(struct_to_json(left))
}

fn deny(denied: DeniedHttpResponse, origin: &Arc<str>) -> Reply {
    let code = denied.status.and_then(|status| u16::try_from(status.code).ok());
    // What is no final status, 0 for one, leaves the usual one.
    let status = code.filter(|c| (200..600).contains(c)).and_then(|c| StatusCode::from_u16(c).ok());
    let mut response = Response::new(Bytes::from(denied.body));
    *response.status_mut() = status.unwrap_or(StatusCode::FORBIDDEN);
    for change in denied.headers.iter().filter_map(|h| change(h, true)) {
        if let Change::Set(name, _) | Change::Add(name, _) | Change::AddIfAbsent(name, _) = &change
            && !is_framing(name)
        {
            change.apply(response.headers_mut());
        }
    }
    Reply { response, reason: Reason::ExternallyDenied(Arc::clone(origin)) }
}

/// In these messages a header without `append` takes the place of what is there, where the response is made by the service
/// stands beside it; the newer `append_action` counts where it is not the one that is 0.
fn change(option: &HeaderValueOption, beside: bool) -> Option<Change> {
    let header = option.header.as_ref()?;
    let name: HeaderName = header.key.parse().ok()?;
    let bytes = if header.value.is_empty() { &header.raw_value[..] } else { header.value.as_bytes() };
    if bytes.is_empty() && !option.keep_empty_value {
        return Some(Change::Remove(name)).filter(|_| !beside);
    }
    let value = HeaderValue::from_bytes(bytes).ok()?;
    Some(match (&option.append, option.append_action()) {
        (Some(append), _) if append.value => Change::Add(name, value),
        (Some(_), _) | (None, HeaderAppendAction::OverwriteIfExistsOrAdd) => Change::Set(name, value),
        (None, HeaderAppendAction::AddIfAbsent) => Change::AddIfAbsent(name, value),
        (None, HeaderAppendAction::OverwriteIfExists) => Change::SetIfPresent(name, value),
        (None, HeaderAppendAction::AppendIfExistsOrAdd) if beside => Change::Add(name, value),
        (None, HeaderAppendAction::AppendIfExistsOrAdd) => Change::Set(name, value),
    })
}

#[cfg(test)]
mod tests {
    use agentgateway_callout::auth::{BoolValue, HeaderValue as Value, HttpStatus, OkHttpResponse, Status};
    use http::HeaderMap;

    use super::*;

    fn option(key: &str, value: &str, append: Option<bool>, action: HeaderAppendAction) -> HeaderValueOption {
        HeaderValueOption {
            header: Some(Value { key: key.into(), value: value.into(), ..Default::default() }),
            append: append.map(|value| BoolValue { value }),
            append_action: action.into(),
            keep_empty_value: false,
        }
    }

    fn answer(code: i32, http_response: Option<HttpResponse>) -> Result<Decision, Error> {
        let status = Some(Status { code, message: String::new() });
        decide(CheckResponse { status, http_response, dynamic_metadata: Bytes::new() }, &"TrafficPolicy ns/p".into())
    }

    fn denied(response: Option<DeniedHttpResponse>) -> Response<Bytes> {
        match answer(7, response.map(HttpResponse::DeniedResponse)) {
            Ok(Decision::Denied(reply, _)) => reply.response,
            _ => panic!("is not denied"),
        }
    }

    #[test]
    fn headers_take_the_place_of_what_is_there_unless_told() {
        use HeaderAppendAction::{AddIfAbsent, AppendIfExistsOrAdd, OverwriteIfExists};
        let ok = OkHttpResponse {
            headers: vec![
                option("set", "new", None, AppendIfExistsOrAdd),
                option("appended", "new", Some(true), AppendIfExistsOrAdd),
                option("not-appended", "new", Some(false), AppendIfExistsOrAdd),
                option("kept", "new", None, AddIfAbsent),
                option("absent", "new", None, OverwriteIfExists),
                option("emptied", "", None, AppendIfExistsOrAdd),
            ],
            headers_to_remove: vec!["removed".into(), "host".into(), "not a name".into()],
            response_headers_to_add: vec![option("x-for-client", "1", None, AppendIfExistsOrAdd)],
        };
        let Ok(Decision::Allowed(changes)) = answer(0, Some(HttpResponse::OkResponse(ok))) else {
            panic!("is not allowed")
        };
        let mut headers = HeaderMap::new();
        for name in ["set", "appended", "not-appended", "kept", "emptied", "removed", "host"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("old"));
        }
        changes.apply(&mut headers);
        let mut found: Vec<_> = headers.iter().map(|(n, v)| format!("{n}={}", lossy(v))).collect();
        found.sort();
        let expected =
            ["appended=new", "appended=old", "host=old", "kept=old", "not-appended=new", "set=new"].map(str::to_owned);
        assert_eq!(found, expected);
        assert_eq!(changes.in_response(&"o".into()).count(), 1);
    }

    #[test]
    fn a_denial_carries_status_headers_and_body() {
        let response = denied(Some(DeniedHttpResponse {
            status: Some(HttpStatus { code: 401 }),
            headers: vec![
                option("www-authenticate", "Bearer", None, HeaderAppendAction::AppendIfExistsOrAdd),
                option("content-length", "999", None, HeaderAppendAction::AppendIfExistsOrAdd),
            ],
            body: "who are you?".into(),
        }));
        assert_eq!((response.status().as_u16(), &response.body()[..]), (401, &b"who are you?"[..]));
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert!(!response.headers().contains_key("content-length"), "the length is the body's own");
        assert_eq!(denied(None).status(), 403);
        let no_status = DeniedHttpResponse { status: Some(HttpStatus { code: 0 }), ..Default::default() };
        assert_eq!(denied(Some(no_status)).status(), 403);
    }

    #[test]
    fn an_answer_that_contradicts_itself_is_none() {
        assert!(answer(0, Some(HttpResponse::DeniedResponse(DeniedHttpResponse::default()))).is_err());
        let ok = Some(HttpResponse::OkResponse(OkHttpResponse::default()));
        assert!(matches!(answer(7, ok), Ok(Decision::Denied(..))));
        assert!(matches!(answer(0, None), Ok(Decision::Allowed(_))));
    }

    #[test]
    fn metadata_is_left_by_both_answers_and_bounded() {
        use agentgateway_callout::processor::{Value as Wire, value::Kind};
        let encoded = |text: String| {
            let value = Wire { kind: Some(Kind::StringValue(text)) };
            Struct { fields: [("team".to_owned(), value)].into() }.encode_to_vec().into()
        };
        let answer = |code, dynamic_metadata| {
            let status = Some(Status { code, message: String::new() });
            decide(CheckResponse { status, http_response: None, dynamic_metadata }, &"TrafficPolicy ns/p".into())
        };
        match answer(0, encoded("blue".into())) {
            Ok(Decision::Allowed(changes)) => assert_eq!(changes.metadata()["team"], "blue"),
            _ => panic!("is not allowed"),
        }
        match answer(7, encoded("red".into())) {
            Ok(Decision::Denied(_, metadata)) => assert_eq!(metadata["team"], "red"),
            _ => panic!("is not denied"),
        }
        assert!(answer(0, encoded("x".repeat(MAX_LEFT_METADATA_BYTES))).is_err(), "it is too large");
        assert!(answer(0, Bytes::from_static(b"\xff")).is_err(), "it is no Struct");
    }
}
