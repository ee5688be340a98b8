//! Where the control plane is, and who this proxy is.

use std::path::PathBuf;

/// Settings of the discovery client.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// "https://host:port", or "http://host:port" on loopback.
    pub address: http::Uri,
    /// CA bundle (PEM) that the control plane's certificate must come from. Read at each connect, so it may be rotated.
    pub root_ca: Option<PathBuf>,
    /// File that holds the bearer token. Read at each connect, so it may be rotated.
    pub token: PathBuf,
    /// The gateway that this proxy serves, as "namespace/name".
    pub gateway: String,
    /// Unique name of this process: the pod's name.
    pub proxy: String,
    /// Release of this program; a kept snapshot of another one is not used.
    pub release: String,
    /// Where the last good snapshot is kept.
    pub snapshot: Option<PathBuf>,
    /// What the proxy knows; its own list, but in tests of skew.
    pub capabilities: agentgateway_proto::capabilities::Capabilities,
}
