//! The YAML file of a proxy that runs without a control plane.

mod policies;
mod process;
mod route;
mod stream;
mod telemetry;
mod tls;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::BindLimits;
pub use policies::{BackendPolicies, ListenerPolicies, RoutePolicies};
pub use process::{Drain, LogFormat, Logging, ProcessConfig};
pub use route::{KeyedMatch, PathMatch, Route, RouteBackend, RouteMatch};
pub use stream::{ConnectionPolicies, TcpBackend, TcpRoute, UdpBackend, UdpRoute};
pub use telemetry::{CollectorHost, LogSink};
pub use tls::{BackendTls, CertificateFiles, ListenerTls, MtlsMode, TlsVersion};

/// What may be written in the file alone, never in Kubernetes, with the reason: it names the proxy's own machine, and
/// whoever may create a Backend must not run commands or read files beside other tenants' keys. Each entry is the name
/// of a field.
pub const FILE_ONLY: [(&str, &str); 10] = [
    ("config", "settings of the process itself"),
    ("file", "a path on the proxy's disk; in Kubernetes a ConfigMap or Secret takes its place"),
    // Its private key, `key`, stands beside it always; that name alone has other meanings in Kubernetes.
    ("cert", "a certificate on the proxy's disk; in Kubernetes a Secret takes its place"),
    ("root", "authorities on the proxy's disk; in Kubernetes a ConfigMap takes their place"),
    ("caFile", "authorities on the proxy's disk; in Kubernetes a ConfigMap takes their place"),
    ("credentialsFile", "credentials on the proxy's disk; in Kubernetes a Secret takes its place"),
    ("profile", "a section of a file with credentials"),
    ("stdio", "a command that runs beside the proxy; in Kubernetes such a server gets a pod of its own"),
    ("cmd", "the command of a stdio server"),
    ("env", "the environment of a stdio server"),
];

/// Configuration of a proxy that runs without a control plane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// Settings of the process; they are read once, at the start.
    #[serde(default)]
    pub config: ProcessConfig,

    /// The ports to listen on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub binds: Vec<Bind>,
}

/// A port to listen on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bind {
    /// Port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,

    /// IP address; all addresses by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 45))]
    pub address: Option<String>,

    /// Whether connections begin with the PROXY protocol, by which a balancer says who the client is; `off` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,

    /// What is taken on the port before connections and requests are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<BindLimits>,

    /// What is served on the port, by host name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub listeners: Vec<Listener>,
}

/// What is served under one host name of a port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Name, unique in the file; `listener<n>` by default, counted from 0 over the whole file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,

    /// Host name, such as `example.com` or `*.example.com`; every host by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub hostname: Option<String>,

    /// Protocol; `HTTP` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,

    /// TLS: of `HTTPS` listeners, and of `TLS` listeners where it ends here. A `TLS` listener without it passes connections
    /// through as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,

    /// Policies for all requests of this listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<ListenerPolicies>,

    /// Where requests go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16384))]
    pub routes: Vec<Route>,

    /// Where connections of a `TCP` or `TLS` listener go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub tcp_routes: Vec<TcpRoute>,

    /// Where datagrams of a `UDP` listener go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub udp_routes: Vec<UdpRoute>,
}

/// Protocol of a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/2 without TLS.
    #[default]
    Http,
    /// HTTP/1.1 and HTTP/2 over TLS.
    Https,
    /// Anything over TLS; routed by the server name that clients ask for.
    Tls,
    /// TCP connections.
    Tcp,
    /// UDP datagrams.
    Udp,
}

/// Whether connections begin with the PROXY protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ProxyProtocol {
    /// They do not.
    #[default]
    Off,
    /// They do; one without it is closed.
    Required,
    /// Those without it are served too. Whoever reaches the port can then claim any address.
    Optional,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strict;

    fn load(text: &str) -> File {
        let read: strict::Strict<File> = strict::read(serde_norway::Deserializer::from_str(text)).expect("reads");
        assert!(read.unknown.is_empty(), "{:?}", read.unknown);
        read.value
    }

    #[test]
    fn reads_stdio_and_http_targets() {
        let file = load(
            "binds:\n- port: 3000\n  listeners:\n  - routes:\n    - backends:\n      - mcp:\n          targets:\n          \
             - name: time\n            stdio: {cmd: uvx, args: [mcp-server-time]}\n          \
             - name: github\n            mcp: {host: example.com, path: /mcp, port: 3000}\n",
        );
        let group = file.binds[0].listeners[0].routes[0].backends[0].mcp.clone().expect("mcp");
        assert_eq!(group.targets[0].stdio.as_ref().map(|s| s.args.len()), Some(1));
        assert_eq!(group.targets[1].mcp.as_ref().map(|m| m.port), Some(3000));
    }

    #[test]
    fn reads_policies_without_backends() {
        let file = load(
            "binds:\n- port: 3000\n  listeners:\n  - routes:\n    - policies:\n        backendAuth: {passthrough: {}}\n        \
             jwtAuth: {issuer: a, audiences: [b], jwks: {file: ./key}}\n        \
             mcpAuthorization: {rules: [{allow: 'mcp.tool.name in [\"echo\"]'}]}\n",
        );
        let policies = file.binds[0].listeners[0].routes[0].policies.clone().expect("policies");
        assert!(policies.backend_auth.expect("set").passthrough.is_some());
        assert_eq!(policies.mcp_authorization.expect("set").rules.len(), 1);
    }

    #[test]
    fn what_is_for_the_file_alone_is_in_the_file() {
        let schema = serde_json::to_string(&schemars::schema_for!(File)).expect("serialises");
        for (field, _) in FILE_ONLY {
            assert!(schema.contains(&format!("\"{field}\":{{")), "{field}");
        }
    }
}
