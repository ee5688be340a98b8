//! A target of an MCP backend, compiled: its name and how its server is reached.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agentgateway_openapi::Api;
use agentgateway_proto::v1;
use agentgateway_upstream::Cluster;
use http::HeaderValue;
use http::uri::PathAndQuery;

use crate::breaker::Breaker;
use crate::capabilities::Handshake;
use crate::fault::Fault;
use crate::limits::{ERA_RETRY, Limits};
use crate::lock;
use crate::metrics::TargetMetrics;

/// A target. Shared by all threads.
#[derive(Debug)]
pub(crate) struct Target {
    /// Place in its backend.
    pub(crate) index: usize,
    pub(crate) name: Arc<str>,
    pub(crate) transport: Transport,
    /// What it was compiled from: sessions keep their link when a new configuration says the same.
    pub(crate) spec: v1::McpTarget,
    pub(crate) metrics: Arc<TargetMetrics>,
    /// Where the configuration has one.
    pub(crate) breaker: Option<Arc<Breaker>>,
    connect_timeout: Option<Duration>,
    request_timeout: Option<Duration>,
    /// Its last handshake or list failed.
    suspect: AtomicBool,
    /// Its last request failed.
    failing: AtomicBool,
    /// What it last said of itself.
    known: Mutex<Option<Arc<Handshake>>>,
    /// When it last did not understand the stateless protocol.
    lacks_modern: Mutex<Option<Instant>>,
}

/// How a target is reached.
#[derive(Debug)]
pub(crate) enum Transport {
    StreamableHttp(HttpServer),
    Sse(HttpServer),
    Stdio(Arc<Command>),
    /// An HTTP API.
    OpenApi(HttpServer, Box<Api>),
}

/// A server behind a Host or Service backend.
#[derive(Debug)]
pub(crate) struct HttpServer {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) host: HeaderValue,
    pub(crate) path: PathAndQuery,
}

/// A server that is a child process of the gateway.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
}

impl Target {
    pub(crate) fn compile(
        index: usize,
        spec: &v1::McpTarget,
        clusters: &dyn Fn(&str) -> Option<Arc<Cluster>>,
        metrics: Arc<TargetMetrics>,
    ) -> Result<Self, String> {
        let transport = match &spec.transport {
            Some(v1::mcp_target::Transport::Http(http)) => {
                let server = HttpServer::compile(&spec.name, http, clusters)?;
                match http.protocol() {
                    v1::mcp_http::Protocol::Sse => Transport::Sse(server),
                    v1::mcp_http::Protocol::Unspecified | v1::mcp_http::Protocol::StreamableHttp => {
                        Transport::StreamableHttp(server)
                    }
                }
            }
            Some(v1::mcp_target::Transport::Stdio(stdio)) if stdio.command.is_empty() => {
                return Err(format!("target \"{}\": the command is empty", spec.name));
            }
            Some(v1::mcp_target::Transport::Stdio(stdio)) => Transport::Stdio(Arc::new(Command {
                program: stdio.command.clone(),
                args: stdio.args.clone(),
                env: stdio.env.clone().into_iter().collect(),
            })),
            Some(v1::mcp_target::Transport::Openapi(openapi)) => {
                let http = v1::McpHttp { backend_key: openapi.backend_key.clone(), ..v1::McpHttp::default() };
                let server = HttpServer::compile(&spec.name, &http, clusters)?;
                let api = Api::parse(&openapi.schema, openapi.path.as_deref())
                    .map_err(|e| format!("target \"{}\": {e}", spec.name))?;
                for reason in api.skipped() {
                    tracing::warn!(mcp_target = %spec.name, "an operation is no tool: {reason}");
                }
                Transport::OpenApi(server, Box::new(api))
            }
            None => return Err(format!("target \"{}\" has no transport that this proxy knows", spec.name)),
        };
        let name: Arc<str> = spec.name.as_str().into();
        Ok(Self {
            index,
            breaker: spec.circuit_breaker.map(|spec| Arc::new(Breaker::new(&name, spec, &metrics))),
            connect_timeout: spec.connect_timeout_milliseconds.map(Duration::from_millis),
            request_timeout: spec.request_timeout_milliseconds.map(Duration::from_millis),
            name,
            transport,
            spec: spec.clone(),
            metrics,
            suspect: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            known: Mutex::default(),
            lacks_modern: Mutex::default(),
        })
    }

    /// How long its handshake may take.
    pub(crate) fn connect_timeout(&self, limits: &Limits) -> Duration {
        let default = if self.is_process() { limits.process_handshake } else { limits.http_handshake };
        self.connect_timeout.unwrap_or(default)
    }

    /// How long it may take until the first part of an answer.
    pub(crate) fn request_timeout(&self, limits: &Limits) -> Duration {
        self.request_timeout.unwrap_or(limits.call)
    }

    /// Says no when its circuit breaker is open.
    pub(crate) fn enter(&self) -> Result<(), Fault> {
        self.breaker.as_ref().map_or(Ok(()), |breaker| breaker.enter())
    }

    /// Tells its circuit breaker of a failed exchange.
    pub(crate) fn settle(&self, fault: &Fault) {
        if let Some(breaker) = &self.breaker {
            breaker.settle(fault);
        }
    }

    /// Tells its circuit breaker that one step of an exchange was done.
    pub(crate) fn go_on(&self) {
        if let Some(breaker) = &self.breaker {
            breaker.go_on();
        }
    }

    pub(crate) fn known(&self) -> Option<Arc<Handshake>> {
        lock(&self.known).clone()
    }

    pub(crate) fn set_known(&self, handshake: &Handshake) {
        *lock(&self.known) = Some(Arc::new(handshake.clone()));
    }

    /// Whether it is not worth a try to speak the stateless protocol with it.
    pub(crate) fn lacks_modern(&self) -> bool {
        lock(&self.lacks_modern).is_some_and(|at: Instant| at.elapsed() < ERA_RETRY)
    }

    pub(crate) fn set_lacks_modern(&self) {
        *lock(&self.lacks_modern) = Some(Instant::now());
    }

    pub(crate) fn is_process(&self) -> bool {
        matches!(self.transport, Transport::Stdio(_))
    }

    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    /// Notes how the last request ended; whether that is news.
    pub(crate) fn set_failing(&self, failing: bool) -> bool {
        // A load is enough almost always, and keeps the cache line shared.
        self.failing.load(Ordering::Relaxed) != failing && self.failing.swap(failing, Ordering::Relaxed) != failing
    }

    pub(crate) fn set_suspect(&self, suspect: bool) {
        self.suspect.store(suspect, Ordering::Relaxed);
    }
}

impl HttpServer {
    fn compile(
        name: &str,
        http: &v1::McpHttp,
        clusters: &dyn Fn(&str) -> Option<Arc<Cluster>>,
    ) -> Result<Self, String> {
        let cluster = clusters(&http.backend_key)
            .ok_or_else(|| format!("target \"{name}\": backend \"{}\" does not exist", http.backend_key))?;
        let host = HeaderValue::from_str(cluster.authority().as_str())
            .map_err(|e| format!("target \"{name}\": its authority is not a header value: {e}"))?;
        let path = if http.path.starts_with('/') { http.path.clone() } else { format!("/{}", http.path) };
        let path = path.parse().map_err(|e| format!("target \"{name}\": path \"{path}\" is not valid: {e}"))?;
        Ok(Self { cluster, host, path })
    }
}
