//! A control plane in the test's own process, on loopback, and a client of it.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    reason = "test support; each test binary uses a part"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agentgateway_controlplane_xds::registry::Phase;
use agentgateway_controlplane_xds::{Allowed, Authenticator, Discovery, Metrics, Refusal, Registry, Rejections};
use agentgateway_proto::capabilities::Capabilities;
use agentgateway_proto::resource::Resource;
use agentgateway_proto::snapshot::Snapshot;
use agentgateway_proto::v1;
use agentgateway_xds_client::{ClientConfig, ConfigUpdate, Started};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Identity, Server, ServerTlsConfig};

pub const GATEWAY: &str = "infra/gw";
pub const TOKEN: &str = "token-of-infra-gw";

struct OneToken;

#[tonic::async_trait]
impl Authenticator for OneToken {
    async fn authenticate(&self, token: &str) -> Result<Allowed, Refusal> {
        if token == TOKEN {
            Ok(Allowed::Gateway(GATEWAY.to_owned()))
        } else {
            Err(Refusal::Invalid("it is not the token of this test".to_owned()))
        }
    }
}

pub struct ControlPlane {
    pub registry: Arc<Registry>,
    pub rejections: Arc<Rejections>,
    pub metrics: Metrics,
    pub address: SocketAddr,
    server: JoinHandle<()>,
}

impl ControlPlane {
    pub async fn start() -> ControlPlane {
        Self::start_at("127.0.0.1:0".parse().expect("address"), None).await
    }

    pub async fn start_at(address: SocketAddr, identity: Option<Identity>) -> ControlPlane {
        // The port of a stopped server may linger for a moment.
        let listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        let address = listener.local_addr().expect("address");
        let rejections = Arc::new(Rejections::default());
        let registry = Arc::new(Registry::new(rejections.clone()));
        let metrics = Metrics::default();
        let discovery = Discovery::new(registry.clone(), Arc::new(OneToken), rejections.clone(), metrics.clone());
        let mut server = Server::builder();
        if let Some(identity) = identity {
            server = server.tls_config(ServerTlsConfig::new().identity(identity)).expect("TLS");
        }
        let serve = server.add_service(discovery.into_service()).serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { serve.await.expect("serves") });
        ControlPlane { registry, rejections, metrics, address, server }
    }

    pub async fn serving(resources: &[Resource]) -> ControlPlane {
        let control_plane = Self::start().await;
        control_plane.publish(resources);
        control_plane.registry.set_phase(Phase::Serving);
        control_plane
    }

    pub fn publish(&self, resources: &[Resource]) {
        self.registry.publish(GATEWAY, Arc::new(Snapshot::of(resources)));
    }

    pub async fn stop(self) -> SocketAddr {
        self.registry.set_phase(Phase::Stopping);
        self.server.abort();
        let _ = self.server.await;
        self.address
    }
}

pub struct Proxy {
    pub dir: tempfile::TempDir,
    pub config: ClientConfig,
}

impl Proxy {
    pub fn of(control_plane: &ControlPlane) -> Proxy {
        Self::at(&format!("http://{}", control_plane.address))
    }

    pub fn at(address: &str) -> Proxy {
        let dir = tempfile::tempdir().expect("dir");
        let token = dir.path().join("token");
        std::fs::write(&token, format!("{TOKEN}\n")).expect("token");
        let config = ClientConfig {
            address: address.parse().expect("address"),
            root_ca: None,
            token,
            gateway: GATEWAY.to_owned(),
            proxy: "gw-pod".to_owned(),
            release: "1".to_owned(),
            snapshot: None,
            capabilities: Capabilities::own(),
        };
        Proxy { dir, config }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn start(&self) -> Started {
        agentgateway_xds_client::start(self.config.clone())
    }
}

/// The next generation, answered without objection.
pub async fn next(started: &mut Started) -> Seen {
    let update = next_unanswered(started).await;
    let seen = Seen::of(&update);
    update.answer(Vec::new());
    seen
}

pub async fn next_unanswered(started: &mut Started) -> ConfigUpdate {
    tokio::time::timeout(Duration::from_secs(10), started.updates.recv()).await.expect("in time").expect("an update")
}

/// Waits for what other tasks do; for what has no event to wait for.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never came: {what}");
}

#[derive(Debug, PartialEq)]
pub struct Seen {
    pub changed: Vec<String>,
    pub removed: Vec<String>,
}

impl Seen {
    pub fn of(update: &ConfigUpdate) -> Seen {
        Seen {
            changed: update.changed.iter().map(|r| format!("{}/{}", r.kind().message(), r.key())).collect(),
            removed: update.removed.iter().map(|(kind, key)| format!("{}/{key}", kind.message())).collect(),
        }
    }
}

pub fn seen(changed: &[&str], removed: &[&str]) -> Seen {
    let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    Seen { changed: owned(changed), removed: owned(removed) }
}

pub fn bind(key: &str, port: u32) -> Resource {
    Resource::Bind(v1::Bind { key: key.into(), port, ..Default::default() })
}

pub fn listener(key: &str) -> Resource {
    Resource::Listener(v1::Listener { key: key.into(), ..Default::default() })
}

pub fn route(key: &str, rule: &str) -> Resource {
    Resource::Route(v1::Route { key: key.into(), rule_name: rule.into(), ..Default::default() })
}

pub fn backend(key: &str) -> Resource {
    Resource::Backend(v1::Backend { key: key.into(), ..Default::default() })
}

pub fn endpoint(key: &str) -> Resource {
    Resource::Endpoint(v1::Endpoint { key: key.into(), ..Default::default() })
}

pub fn limit(key: &str) -> Resource {
    let limit = v1::LocalRateLimit {
        max_tokens: 1,
        tokens_per_fill: 1,
        fill_interval_milliseconds: 1_000,
        ..Default::default()
    };
    Resource::Policy(v1::Policy {
        key: key.into(),
        target: Some(v1::policy::Target::ListenerKey("l".into())),
        spec: Some(v1::PolicySpec { kind: Some(v1::policy_spec::Kind::LocalRateLimit(limit)) }),
        ..Default::default()
    })
}
