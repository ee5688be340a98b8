//! Command line and environment.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Ports, as Gateway API users know them from kgateway.
pub(crate) const XDS_PORT: u16 = 9978;
const HEALTH_PORT: u16 = 9093;
const METRICS_PORT: u16 = 9092;

/// Programs agentgateway proxies from Gateway API resources: of a Kubernetes cluster, or of a folder.
#[derive(Debug, Parser)]
#[command(name = "agentgateway-controlplane", version)]
pub(crate) struct Args {
    /// Read resources from the YAML files of this folder instead of a Kubernetes cluster, and follow its changes.
    #[arg(long, env = "MANIFESTS", value_name = "DIR")]
    pub(crate) manifests: Option<PathBuf>,

    /// With --manifests: file that the token for proxies is written to, for its owner alone.
    #[arg(long, env = "XDS_TOKEN_FILE", value_name = "FILE", default_value = ".agentgateway/xds-token")]
    pub(crate) token_file: PathBuf,

    /// Address of the discovery server; with --manifests it must be a loopback address, and is by default.
    #[arg(long, env = "XDS_LISTEN_ADDRESS", value_name = "ADDRESS")]
    pub(crate) xds_address: Option<SocketAddr>,

    /// Address of /readyz and /healthz.
    #[arg(long, env = "HEALTH_ADDRESS", value_name = "ADDRESS")]
    pub(crate) health_address: Option<SocketAddr>,

    /// Address of /metrics.
    #[arg(long, env = "METRICS_ADDRESS", value_name = "ADDRESS")]
    pub(crate) metrics_address: Option<SocketAddr>,

    /// Filter of the logs, as "info" or "info,agentgateway_controlplane=debug".
    #[arg(long, env = "LOG_LEVEL", default_value = "info", value_name = "FILTER")]
    pub(crate) log_level: String,

    /// Form of the logs.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,

    /// Settings for a cluster.
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// What only a control plane in a cluster needs.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Kubernetes")]
pub(crate) struct ClusterArgs {
    /// Name of this pod; the leader is known by it.
    #[arg(long, env = "POD_NAME", default_value = "agentgateway-controlplane")]
    pub(crate) pod_name: String,

    /// UID of this pod. Without it the other replicas are not told what proxies reject on this one's streams.
    #[arg(long, env = "POD_UID")]
    pub(crate) pod_uid: Option<String>,

    /// Namespace of this pod: its Lease, CA and discovery Service are there.
    #[arg(long, env = "POD_NAMESPACE", default_value = "agentgateway-system")]
    pub(crate) namespace: String,

    /// Name of the Service through which proxies reach the discovery server.
    #[arg(long, env = "SERVICE_NAME", default_value = "agentgateway-controlplane")]
    pub(crate) service_name: String,

    /// Port of that Service.
    #[arg(long, env = "XDS_SERVICE_PORT", default_value_t = XDS_PORT)]
    pub(crate) service_port: u16,

    /// Namespaces to look at, as "a,b"; all when none is named. Rights are then needed in these alone.
    #[arg(long, env = "WATCH_NAMESPACES", value_name = "NAMESPACES", value_delimiter = ',')]
    pub(crate) watch_namespaces: Vec<String>,

    /// DNS domain of the cluster.
    #[arg(long, env = "CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub(crate) cluster_domain: String,

    /// Where proxies reach the discovery server, when not through that Service: "https://host:port".
    #[arg(long, env = "PROXY_XDS_ADDRESS", value_name = "URL")]
    pub(crate) proxy_xds_address: Option<String>,

    /// Image of the proxy.
    #[arg(long, env = "PROXY_IMAGE", default_value = concat!("agentgateway:", env!("CARGO_PKG_VERSION")))]
    pub(crate) proxy_image: String,

    /// When a node pulls that image: Always, IfNotPresent or Never.
    #[arg(long, env = "PROXY_IMAGE_PULL_POLICY", default_value = "IfNotPresent")]
    pub(crate) proxy_image_pull_policy: String,

    /// Log filter of the proxies.
    #[arg(long, env = "PROXY_LOG_LEVEL", default_value = "info")]
    pub(crate) proxy_log_level: String,
}

/// Form of the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A combination of options that cannot work.
#[derive(Debug, thiserror::Error)]
#[error("--xds-address {0} is not a loopback address: with --manifests the discovery server speaks without TLS")]
pub(crate) struct NotLoopback(SocketAddr);

impl Args {
    /// Address of the discovery server.
    pub(crate) fn xds_address(&self) -> Result<SocketAddr, NotLoopback> {
        let address = self.xds_address.unwrap_or_else(|| self.default_address(XDS_PORT));
        if self.manifests.is_some() && !address.ip().is_loopback() {
            return Err(NotLoopback(address));
        }
        Ok(address)
    }

    /// Address of /readyz and /healthz.
    pub(crate) fn health_address(&self) -> SocketAddr {
        self.health_address.unwrap_or_else(|| self.default_address(HEALTH_PORT))
    }

    /// Address of /metrics.
    pub(crate) fn metrics_address(&self) -> SocketAddr {
        self.metrics_address.unwrap_or_else(|| self.default_address(METRICS_PORT))
    }

    fn default_address(&self, port: u16) -> SocketAddr {
        let address = if self.manifests.is_some() { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        (address, port).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_kubernetes_only_loopback_is_served() {
        let args = Args::parse_from(["x", "--manifests", "d"]);
        assert!(args.xds_address().expect("loopback").ip().is_loopback());
        assert!(args.metrics_address().ip().is_loopback());
        let args = Args::parse_from(["x", "--manifests", "d", "--xds-address", "0.0.0.0:1"]);
        assert!(args.xds_address().is_err());
        assert!(Args::parse_from(["x"]).xds_address().is_ok());
    }
}
