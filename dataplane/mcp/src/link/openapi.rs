//! A target that is an HTTP API: the gateway itself is its MCP server, whose tools are the operations of an OpenAPI document.
//!
//! There is no session and nothing to greet. A call is one request over the worker's own connections, with the credentials
//! that targets get; what the API answers is the tool's result, also where it is an error.

use agentgateway_openapi::{Api, CallError, Request, result};
use agentgateway_upstream::Body;
use http::Uri;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use super::http::{Forwarded, read, request};
use crate::capabilities::{Features, Handshake};
use crate::fault::{Fault, Kind};
use crate::jsonrpc::{self, Envelope, members, string};
use crate::protocol::{Method, Version, code};
use crate::session::Session;
use crate::shared::Io;
use crate::target::{HttpServer, Target, Transport};

/// What a session has of it.
#[derive(Debug)]
pub(crate) struct ApiLink {
    pub(crate) features: Features,
}

impl ApiLink {
    /// What the API would say of itself, in the version of the session.
    pub(crate) fn connect(target: &Target, api: &Api, session: &Session) -> Result<(Self, Handshake), Fault> {
        let version = if session.version().is_modern() { Version::LATEST } else { session.version() };
        let mut hello = json!({
            "protocolVersion": version.as_str(),
            "capabilities": {"tools": {}},
            "serverInfo": {"name": api.title(), "version": api.version()},
        });
        if let Some(description) = api.description() {
            hello["instructions"] = description.into();
        }
        let handshake =
            Handshake::parse(&hello.to_string()).map_err(|e| Fault::new(&target.name, Kind::Protocol, e))?;
        Ok((Self { features: handshake.features }, handshake))
    }

    /// The response to a request.
    pub(crate) async fn request(
        &self,
        io: &Io,
        target: &Target,
        forwarded: &Forwarded,
        envelope: &Envelope<'_>,
    ) -> Result<String, Fault> {
        let id = envelope.id.unwrap_or("null");
        let Transport::OpenApi(server, api) = &target.transport else {
            return Err(Fault::new(&target.name, Kind::Protocol, "is no HTTP API any more"));
        };
        let response = match Method::parse(envelope.method()) {
            Method::Ping => jsonrpc::result(id, "{}"),
            Method::ToolsList => jsonrpc::result(id, &json!({"tools": api.tools().collect::<Vec<_>>()}).to_string()),
            Method::ToolsCall => {
                let invalid = |why: &str| jsonrpc::error(Some(id), code::INVALID_PARAMS, why);
                match arguments(envelope) {
                    Err(why) => invalid(&format!("Invalid params: {why}")),
                    Ok((name, arguments)) => match api.request(&name, &arguments) {
                        Err(unknown @ CallError::UnknownTool(_)) => invalid(&unknown.to_string()),
                        // The model reads results, and may do better with the next call.
                        Err(wrong) => jsonrpc::result(id, &failed(&wrong.to_string()).to_string()),
                        Ok(call) => {
                            let result = send(io, target, server, forwarded, call).await?;
                            jsonrpc::result(id, &result.to_string())
                        }
                    },
                }
            }
            _ => jsonrpc::error(Some(id), code::METHOD_NOT_FOUND, "Method not found"),
        };
        Ok(String::from_utf8_lossy(&response).into_owned())
    }
}

fn arguments(envelope: &Envelope<'_>) -> Result<(String, Map<String, Value>), String> {
    let [name, arguments] =
        members(envelope.params.unwrap_or("{}"), ["name", "arguments"]).map_err(|e| e.to_string())?;
    let name = string(name.ok_or("\"name\" is missing")?).map_err(|_| "\"name\" must be a string")?;
    let arguments = arguments.map(serde_json::from_str).transpose().map_err(|e| format!("arguments: {e}"))?;
    Ok((name.into_owned(), arguments.unwrap_or_default()))
}

fn failed(why: &str) -> Value {
    json!({"content": [{"type": "text", "text": why}], "isError": true})
}

async fn send(
    io: &Io,
    target: &Target,
    server: &HttpServer,
    forwarded: &Forwarded,
    call: Request,
) -> Result<Value, Fault> {
    let uri: Uri = match call.target.parse() {
        Ok(uri) => uri,
        Err(_) => return Ok(failed("the arguments make no URL")),
    };
    let patience = target.request_timeout(&io.shared.limits);
    let exchange = async {
        let upstream = io.upstream();
        let mut attempt = 0;
        let response = loop {
            let picked = upstream.pick(&server.cluster).await.map_err(|e| Fault::upstream(&target.name, &e))?;
            let body = if call.body.is_empty() { Body::Empty } else { Body::from(call.body.clone()) };
            let mut request = request(server, call.method.clone(), forwarded, body);
            *request.uri_mut() = uri.clone();
            for (name, value) in &call.headers {
                // The gateway's own come first: a caller cannot put its credentials in the place of these.
                if !request.headers().contains_key(name) {
                    request.headers_mut().insert(name, value.clone());
                }
            }
            match upstream.send(&picked, request).await.map_err(|e| Fault::upstream(&target.name, &e)) {
                // Nothing was sent. Another endpoint, where there is one: the failed one is passed over now.
                Err(fault) if attempt == 0 && matches!(fault.kind, Kind::Unreachable) => attempt += 1,
                response => break response?,
            }
        };
        let status = response.status();
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_owned);
        let body = read(response.into_body(), io.shared.limits.message_bytes).await;
        let body = body.map_err(|e| Fault::new(&target.name, Kind::Protocol, format!("answered badly: {e}")))?;
        Ok((status, kind, body))
    };
    let answered = tokio::time::timeout(patience, exchange).await;
    let (status, kind, body) = answered.unwrap_or_else(|_| Err(Fault::timeout(&target.name, "answer", patience)))?;
    if let Some(breaker) = &target.breaker {
        if status.is_server_error() { breaker.fail() } else { breaker.succeed() }
    }
    Ok(result(status, kind.as_deref(), &body))
}
