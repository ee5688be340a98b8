//! Settings of the process, from the command line and environment, then the file's `config`, then defaults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use agentgateway_mcp::SessionKey;
use agentgateway_telemetry::logging::Format;
use agentgateway_types::file::{LogFormat, ProcessConfig};
use agentgateway_upstream::AddressRules;
use agentgateway_upstream::balancer::Location;
use anyhow::Context;

use crate::cli::Process;

const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15000);
const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 15020);
const READINESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 15021);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long new connections are still taken after the readiness probe fails: load balancers need this long to notice.
const ANNOUNCE_BEHIND_BALANCER: Duration = Duration::from_secs(5);
const ANNOUNCE_ALONE: Duration = Duration::from_millis(200);

/// Settings of the process.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) admin: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) readiness: SocketAddr,
    pub(crate) workers: usize,
    pub(crate) access_log: bool,
    pub(crate) log_level: String,
    pub(crate) log_format: Format,
    pub(crate) announce: Duration,
    pub(crate) drain_timeout: Duration,
    /// Of MCP session ids; a random one when there is none.
    pub(crate) session_key: Option<SessionKey>,
    /// Where the proxy is.
    pub(crate) location: Location,
    pub(crate) allow_loopback: bool,
    pub(crate) allow_link_local: bool,
}

impl Settings {
    /// `file` is the file's `config`; None when the configuration comes from a control plane. `on_this_machine`: it comes
    /// from this machine, by a file or from a control plane on loopback, so backends on loopback are its author's own.
    pub(crate) fn new(
        process: &Process,
        file: Option<&ProcessConfig>,
        on_this_machine: bool,
    ) -> anyhow::Result<Settings> {
        let default = ProcessConfig::default();
        let config = file.unwrap_or(&default);
        let address = |flag: Option<SocketAddr>, text: &Option<String>, field: &str, fallback| match (flag, text) {
            (Some(address), _) => Ok(address),
            (None, Some(text)) => text
                .parse()
                .map_err(|_| anyhow::anyhow!("config.{field}: {text:?} is no address; write it as 127.0.0.1:15000")),
            (None, None) => Ok(fallback),
        };
        let logging = config.logging.clone().unwrap_or_default();
        let format = match process.log_format.as_deref() {
            Some("json") => Format::Json,
            None if logging.format == Some(LogFormat::Json) => Format::Json,
            _ => Format::Text,
        };
        let configured_timeout = config.drain.as_ref().and_then(|d| d.timeout.as_ref());
        let drain_timeout = match (process.drain_timeout, configured_timeout) {
            (Some(seconds), _) => Duration::from_secs(seconds),
            (None, Some(timeout)) => timeout.to_std(),
            (None, None) => DRAIN_TIMEOUT,
        };
        let workers = process.workers.or(config.workers).map(usize::from).unwrap_or_else(quota);
        let announce = if file.is_none() { ANNOUNCE_BEHIND_BALANCER } else { ANNOUNCE_ALONE };
        Ok(Settings {
            admin: address(process.admin_addr, &config.admin_addr, "adminAddr", ADMIN)?,
            metrics: address(process.metrics_addr, &config.metrics_addr, "metricsAddr", METRICS)?,
            readiness: address(process.readiness_addr, &config.readiness_addr, "readinessAddr", READINESS)?,
            workers: workers.max(1),
            access_log: process.access_log.or(config.access_log).unwrap_or(true),
            log_level: process.log_level.clone().or(logging.level).unwrap_or_else(|| "info".to_owned()),
            log_format: format,
            announce: announce.min(drain_timeout),
            drain_timeout,
            session_key: process.session_key_file.as_deref().map(session_key).transpose()?,
            location: Location {
                region: process.region.clone().unwrap_or_default(),
                zone: process.zone.clone().unwrap_or_default(),
            },
            allow_loopback: process
                .allow_loopback_backends
                .or(config.allow_loopback_backends)
                .unwrap_or(on_this_machine),
            allow_link_local: process.allow_link_local_backends.or(config.allow_link_local_backends).unwrap_or(false),
        })
    }

    /// Which addresses backends may have.
    pub(crate) fn address_rules(&self) -> AddressRules {
        AddressRules {
            own_ports: self.own_ports().to_vec(),
            allow_loopback: self.allow_loopback,
            allow_link_local: self.allow_link_local,
        }
    }

    /// Ports of the process itself: no backend and no listener may have them.
    pub(crate) fn own_ports(&self) -> [u16; 3] {
        [self.admin.port(), self.metrics.port(), self.readiness.port()]
    }
}

fn session_key(file: &Path) -> anyhow::Result<SessionKey> {
    let material = std::fs::read(file).with_context(|| format!("cannot read the session key {}", file.display()))?;
    SessionKey::from_material(material.trim_ascii()).with_context(|| format!("the session key {}", file.display()))
}

/// CPUs that this process may use; the standard library reads affinity and cgroup quotas.
fn quota() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
