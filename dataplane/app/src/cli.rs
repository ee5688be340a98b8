//! Command line and environment of the proxy.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// One gateway for HTTP services, MCP servers, models and agents.
#[derive(Debug, Parser)]
#[command(name = "agentgateway", version, about, long_about = None)]
pub(crate) struct Cli {
    /// Configuration file (YAML); watched, and loaded again when it changes.
    #[arg(short, long, value_name = "FILE", conflicts_with = "xds_address")]
    pub(crate) file: Option<PathBuf>,

    /// Check the configuration file, print what is wrong with it, and exit.
    #[arg(long, requires = "file")]
    pub(crate) validate_only: bool,

    /// Print the JSON schema of the configuration file, and exit.
    #[arg(long)]
    pub(crate) schema: bool,

    /// Copy this program to PATH and exit: for images without a shell or `cp`.
    #[arg(long, value_name = "PATH")]
    pub(crate) copy_self: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) xds: Xds,

    #[command(flatten)]
    pub(crate) process: Process,
}

/// Where the configuration comes from when there is no file.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Control plane")]
pub(crate) struct Xds {
    /// Control plane: `https://host:port`, or `http://` on loopback.
    #[arg(long, env = "XDS_ADDRESS", value_name = "URL")]
    pub(crate) xds_address: Option<String>,

    /// CA bundle (PEM) for the control plane's certificate.
    #[arg(long, env = "XDS_ROOT_CA", value_name = "FILE")]
    pub(crate) xds_root_ca: Option<PathBuf>,

    /// Bearer token for the control plane.
    #[arg(long, env = "XDS_TOKEN", value_name = "FILE")]
    pub(crate) xds_token: Option<PathBuf>,

    /// Namespace of the gateway that this proxy serves.
    #[arg(long, env = "NAMESPACE", value_name = "NAME")]
    pub(crate) namespace: Option<String>,

    /// Name of the gateway that this proxy serves.
    #[arg(long, env = "GATEWAY", value_name = "NAME")]
    pub(crate) gateway: Option<String>,

    /// Name of this process; the pod's name.
    #[arg(long, env = "POD_NAME", value_name = "NAME", default_value = "agentgateway")]
    pub(crate) proxy_name: String,

    /// Keep the last good configuration in this file, and start from it when the control plane is away.
    #[arg(long, env = "SNAPSHOT_FILE", value_name = "FILE")]
    pub(crate) snapshot_file: Option<PathBuf>,
}

/// Settings of the process; in a file's `config` the same can be said.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Process")]
pub(crate) struct Process {
    /// Address of the admin interface.
    #[arg(long, env = "ADMIN_ADDR", value_name = "ADDRESS")]
    pub(crate) admin_addr: Option<SocketAddr>,

    /// Address of the metrics.
    #[arg(long, env = "METRICS_ADDR", value_name = "ADDRESS")]
    pub(crate) metrics_addr: Option<SocketAddr>,

    /// Address of the readiness probe.
    #[arg(long, env = "READINESS_ADDR", value_name = "ADDRESS")]
    pub(crate) readiness_addr: Option<SocketAddr>,

    /// Worker threads; by default as many as the CPU quota gives.
    #[arg(long, env = "WORKERS", value_name = "N")]
    pub(crate) workers: Option<u16>,

    /// Write one line per request to standard output.
    #[arg(long, env = "ACCESS_LOG", value_name = "BOOL")]
    pub(crate) access_log: Option<bool>,

    /// error, warn, info, debug, trace, or a list of target=level.
    #[arg(long, env = "LOG_LEVEL", value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,

    /// text or json.
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT", value_parser = ["text", "json"])]
    pub(crate) log_format: Option<String>,

    /// Longest time in seconds that requests and streams get to end when the process is told to stop.
    #[arg(long, env = "DRAIN_TIMEOUT", value_name = "SECONDS")]
    pub(crate) drain_timeout: Option<u64>,

    /// Key of MCP session ids, at least 32 bytes of any form, the same for all replicas: each then goes on with the others'
    /// sessions. Without it, sessions end with the process.
    #[arg(long, env = "SESSION_KEY_FILE", value_name = "FILE")]
    pub(crate) session_key_file: Option<PathBuf>,

    /// Region that the proxy is in, for load balancers that prefer endpoints near it.
    #[arg(long, env = "REGION", value_name = "NAME")]
    pub(crate) region: Option<String>,

    /// Zone that the proxy is in.
    #[arg(long, env = "ZONE", value_name = "NAME")]
    pub(crate) zone: Option<String>,

    /// Allow backends on this machine's loopback addresses. By default with a file or a control plane on loopback.
    #[arg(long, env = "ALLOW_LOOPBACK_BACKENDS", value_name = "BOOL")]
    pub(crate) allow_loopback_backends: Option<bool>,

    /// Allow backends on link-local addresses.
    #[arg(long, env = "ALLOW_LINK_LOCAL_BACKENDS", value_name = "BOOL")]
    pub(crate) allow_link_local_backends: Option<bool>,
}

impl Xds {
    /// Whether the control plane is on this machine.
    pub(crate) fn is_on_loopback(&self) -> bool {
        let address = self.xds_address.as_deref().and_then(|a| a.parse::<http::Uri>().ok());
        address.as_ref().and_then(http::Uri::host).is_some_and(|host| {
            let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
        })
    }
}

impl Process {
    /// How the configuration file is read by a process that was told this.
    pub(crate) fn environment(&self) -> agentgateway_config::Environment {
        let mut environment = agentgateway_config::Environment::of_process();
        environment.allow_loopback = self.allow_loopback_backends;
        environment.allow_link_local = self.allow_link_local_backends;
        environment
    }
}
