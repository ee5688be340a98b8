//! A gateway without its HTTP side, and a client of it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use agentgateway_policy::{Attached, Chain, RequestContext, State};
use agentgateway_proto::v1;
use agentgateway_telemetry::RequestTelemetry;
use agentgateway_upstream::{AddressRules, Body, Cluster, EndpointRegistry, Protocol, Resolver, Upstream};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use super::server::Server;
use crate::backend::McpBackend;
use crate::downstream::{self, Inbound};
use crate::limits::Limits;
use crate::log::Log;
use crate::shared::{Io, Net, Shared};
use crate::sse::{Decoder, Event};
use crate::token::SessionKey;

struct TestNet {
    upstream: Upstream,
    background: tokio::runtime::Handle,
}

impl Net for TestNet {
    fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    fn background(&self) -> &tokio::runtime::Handle {
        &self.background
    }
}

/// One worker of a gateway with one MCP backend.
pub(super) struct Gateway {
    pub(super) io: Io,
    pub(super) backend: Arc<McpBackend>,
}

/// How a target is described in a test.
pub(super) enum To<'a> {
    Http(&'a str, Vec<SocketAddr>),
    Sse(&'a str, SocketAddr),
    Stdio(&'a str, &'a str, Vec<&'a str>),
}

impl<'a> To<'a> {
    pub(super) fn server(name: &'a str, server: &Server) -> Self {
        Self::Http(name, vec![server.address])
    }
}

pub(super) fn limits() -> Limits {
    Limits {
        initialize_grace: Duration::from_millis(200),
        list_patience: Duration::from_millis(500),
        list_answer: Duration::from_millis(500),
        suspect_patience: Duration::from_millis(100),
        call: Duration::from_secs(5),
        message_bytes: 1 << 20,
        ..Limits::default()
    }
}

impl Gateway {
    pub(super) fn new(targets: &[To<'_>]) -> Self {
        Self::with(targets, limits(), None)
    }

    pub(super) fn with(targets: &[To<'_>], limits: Limits, key: Option<SessionKey>) -> Self {
        let shared = Shared::new(limits, key).unwrap();
        Self::of(shared, targets)
    }

    /// A worker with the state of others.
    pub(super) fn of(shared: Arc<Shared>, targets: &[To<'_>]) -> Self {
        let background = tokio::runtime::Handle::current();
        let rules = Arc::new(AddressRules { allow_loopback: true, ..AddressRules::default() });
        let upstream = Upstream::new(Resolver::system(background.clone()), rules);
        let backend = Arc::new(compile(&shared, targets).unwrap());
        Self { io: Io { shared, net: Rc::new(TestNet { upstream, background }) }, backend }
    }

    pub(super) fn client(&self) -> Client<'_> {
        Client { gateway: self, session: None, next: 0, headers: HeaderMap::new(), claims: None, policies: Vec::new() }
    }

    /// A client that has made its handshake.
    pub(super) async fn open(&self) -> Client<'_> {
        let mut client = self.client();
        client.initialize("2025-06-18").await;
        client
    }
}

pub(super) fn compile(shared: &Shared, targets: &[To<'_>]) -> Result<McpBackend, String> {
    compile_without(shared, targets, None)
}

/// As [`compile`], when one of the addresses is no endpoint any more.
pub(super) fn compile_without(
    shared: &Shared,
    targets: &[To<'_>],
    gone: Option<SocketAddr>,
) -> Result<McpBackend, String> {
    thread_local! {
        // As in a gateway, one for all configurations: connections are kept by what it makes.
        static REGISTRY: Arc<EndpointRegistry> = Arc::default();
    }
    let registry = REGISTRY.with(Arc::clone);
    let clusters = |key: &str| {
        let addresses = key.split(',').map(|a| a.parse().unwrap()).filter(|a| Some(*a) != gone);
        let endpoints = addresses.map(|a| registry.get(a, &Protocol::Http1.into())).collect();
        Some(Arc::new(Cluster::fixed("mcp.test:80".parse().unwrap(), endpoints)))
    };
    let http = |addresses: &[SocketAddr], path: &str, protocol| {
        let backend_key = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        v1::mcp_target::Transport::Http(v1::McpHttp { backend_key, path: path.into(), protocol })
    };
    let targets = targets.iter().map(|target| {
        let (name, transport) = match target {
            To::Http(name, addresses) => (name, http(addresses, "/mcp", v1::mcp_http::Protocol::StreamableHttp as i32)),
            To::Sse(name, address) => (name, http(&[*address], "/sse", v1::mcp_http::Protocol::Sse as i32)),
            To::Stdio(name, command, args) => {
                let args = args.iter().map(ToString::to_string).collect();
                let stdio = v1::McpStdio {
                    command: (*command).into(),
                    args,
                    env: [("SET".to_owned(), "yes".to_owned())].into(),
                };
                (name, v1::mcp_target::Transport::Stdio(stdio))
            }
        };
        v1::McpTarget { name: (*name).into(), transport: Some(transport), ..v1::McpTarget::default() }
    });
    let backend = v1::Backend {
        key: "Backend/test/mcp".into(),
        kind: Some(v1::backend::Kind::Mcp(v1::McpBackend { targets: targets.collect(), ..v1::McpBackend::default() })),
        ..v1::Backend::default()
    };
    McpBackend::compile(&shared.metrics, &backend, &clusters)
}

/// One client; every request it makes is answered or the test fails.
pub(super) struct Client<'a> {
    gateway: &'a Gateway,
    pub(super) session: Option<String>,
    next: u64,
    pub(super) headers: HeaderMap,
    pub(super) claims: Option<Value>,
    policies: Vec<Arc<Chain>>,
}

/// An answer whose body is still coming.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) telemetry: RequestTelemetry,
    body: Body,
    decoder: Decoder,
    events: std::collections::VecDeque<Event>,
}

impl<'a> Client<'a> {
    pub(super) fn rules(self, allow: &[&str]) -> Self {
        let rules = v1::Authorization { allow: allow.iter().map(ToString::to_string).collect(), ..Default::default() };
        self.policy(v1::policy_spec::Kind::McpAuthorization(rules))
    }

    pub(super) fn policy(mut self, kind: v1::policy_spec::Kind) -> Self {
        self.policies.push(chain(kind));
        self
    }

    /// The same client at another worker or replica.
    pub(super) fn at<'b>(&self, gateway: &'b Gateway) -> Client<'b> {
        Client {
            gateway,
            session: self.session.clone(),
            next: self.next + 1000,
            headers: self.headers.clone(),
            claims: self.claims.clone(),
            policies: self.policies.clone(),
        }
    }

    pub(super) async fn send(&self, method: Method, headers: HeaderMap, body: String) -> Answer {
        let (mut head, ()) = Request::builder().method(method).uri("/any/path").body(()).unwrap().into_parts();
        head.headers = headers;
        let mut context = RequestContext::new("10.1.2.3:4".parse().unwrap(), "http", 80);
        context.claims = self.claims.clone().map(Arc::new);
        context.telemetry = RequestTelemetry::on();
        let telemetry = context.telemetry.clone();
        let inbound = Inbound { head, context, policies: self.policies.clone() };
        let mut log = Log::new(telemetry.clone());
        let body = Full::new(Bytes::from(body));
        let handled =
            downstream::handle(self.gateway.io.clone(), Arc::clone(&self.gateway.backend), inbound, body, &mut log);
        let response = tokio::time::timeout(Duration::from_secs(20), handled).await.expect("an answer");
        let (head, body) = response.into_parts();
        Answer {
            status: head.status,
            headers: head.headers,
            telemetry,
            body,
            decoder: Decoder::new(1 << 20),
            events: Default::default(),
        }
    }

    pub(super) fn post_headers(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.entry("content-type").or_insert("application/json".parse().unwrap());
        headers.entry("accept").or_insert("application/json, text/event-stream".parse().unwrap());
        if let Some(session) = &self.session {
            headers.insert("mcp-session-id", session.parse().unwrap());
        }
        headers
    }

    pub(super) async fn post(&self, body: impl ToString) -> Answer {
        self.send(Method::POST, self.post_headers(), body.to_string()).await
    }

    pub(super) async fn initialize(&mut self, version: &str) -> Value {
        let answer = self
            .post(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
                "protocolVersion": version, "capabilities": {"sampling": {}}, "clientInfo": {"name": "t", "version": "1"}}}))
            .await;
        self.session = answer.headers.get("mcp-session-id").map(|v| v.to_str().unwrap().to_owned());
        let value = answer.json().await;
        if self.session.is_some() {
            let told = self.post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
            assert_eq!(told.status, 202);
        }
        value
    }

    pub(super) async fn start(&mut self, method: &str, params: Value) -> Answer {
        self.next += 1;
        self.post(json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params})).await
    }

    /// The whole response message.
    pub(super) async fn request(&mut self, method: &str, params: Value) -> Value {
        let answer = self.start(method, params).await;
        let value = answer.json().await;
        assert_eq!(value["id"], self.next, "{value}");
        value
    }

    pub(super) async fn call(&mut self, tool: &str) -> Value {
        self.request("tools/call", json!({"name": tool, "arguments": {"a": 1}})).await
    }

    pub(super) async fn tools(&mut self) -> Vec<String> {
        let value = self.request("tools/list", json!({})).await;
        names(&value["result"]["tools"], "name")
    }

    pub(super) async fn get(&self, last_event: Option<&str>) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("accept", "text/event-stream".parse().unwrap());
        if let Some(session) = &self.session {
            headers.insert("mcp-session-id", session.parse().unwrap());
        }
        if let Some(id) = last_event {
            headers.insert("last-event-id", id.parse().unwrap());
        }
        self.send(Method::GET, headers, String::new()).await
    }
}

fn chain(kind: v1::policy_spec::Kind) -> Arc<Chain> {
    let spec = v1::PolicySpec { kind: Some(kind) };
    let chain = Chain::compile(&[Attached { spec: &spec, source: "test", key: "test" }], &State::default());
    assert!(chain.errors().is_empty(), "{:?}", chain.errors());
    Arc::new(chain)
}

pub(super) fn names(items: &Value, member: &str) -> Vec<String> {
    items
        .as_array()
        .unwrap_or_else(|| panic!("{items}"))
        .iter()
        .map(|i| i[member].as_str().unwrap().to_owned())
        .collect()
}

pub(super) fn text(response: &Value) -> &str {
    response["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{response}"))
}

pub(super) fn error(response: &Value) -> &str {
    response["error"]["message"].as_str().unwrap_or_else(|| panic!("{response}"))
}

impl Answer {
    pub(super) async fn text(self) -> String {
        String::from_utf8(self.body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    pub(super) async fn json(self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    pub(super) fn is_stream(&self) -> bool {
        self.headers["content-type"] == "text/event-stream"
    }

    /// The next event with a message in it.
    pub(super) async fn event(&mut self) -> (Option<String>, Value) {
        loop {
            if let Some(event) = self.events.pop_front() {
                if !event.data.is_empty() {
                    return (event.id, serde_json::from_str(&event.data).unwrap());
                }
                continue;
            }
            let frame = tokio::time::timeout(Duration::from_secs(10), self.body.frame()).await.expect("an event");
            let data = frame.expect("more events").unwrap().into_data().unwrap();
            let events = &mut self.events;
            self.decoder.push(&data, |e| events.push_back(e)).unwrap();
        }
    }

    pub(super) async fn ends(mut self) {
        while let Some(frame) = tokio::time::timeout(Duration::from_secs(10), self.body.frame()).await.expect("the end")
        {
            drop(frame);
        }
    }
}

/// Runs a test as a worker runs.
pub(super) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

/// Waits for something that another task does.
pub(super) async fn eventually(what: impl Fn() -> bool) {
    for _ in 0..500 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come about");
}
