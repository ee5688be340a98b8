//! Backends of both spellings.

use agentgateway_openapi::Api;
use agentgateway_proto::v1::{self, ObjectRef};
use agentgateway_proto::{key, v1::mcp_http::Protocol};
use agentgateway_types::backend::{
    A2aBackend, AppProtocol, HostBackend, HostPort, McpAddress, McpCircuitBreaker, McpFailureMode, McpGroup,
    McpPrefixMode, McpProtocol, McpStaticTarget, McpTarget, McpTimeouts, StaticBackend,
};
use agentgateway_types::policy::TextSource;
use agentgateway_types::{Duration, Path};

use crate::check;
use crate::error::{Error, Within};

/// Path of an MCP endpoint where the user names none.
pub const fn default_mcp_path(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Sse => "/sse",
        Protocol::Unspecified | Protocol::StreamableHttp => "/mcp",
    }
}

/// The version of HTTP that a port's `appProtocol` asks for.
pub fn http_version(app_protocol: Option<&str>) -> v1::HttpVersion {
    match app_protocol {
        Some("kubernetes.io/h2c" | "http2" | "grpc") => v1::HttpVersion::H2c,
        _ => v1::HttpVersion::Unspecified,
    }
}

/// `name:port`, as the YAML file writes a backend.
pub fn host_port(text: &str) -> Result<v1::HostPort, Error> {
    let wrong = || Error::invalid(Path::root(), format!("{text:?} is not a host and a port such as example.com:8080"));
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    // An IPv6 address must be in brackets, or its last group would be taken for the port.
    if host.contains(':') && !host.starts_with('[') {
        return Err(wrong());
    }
    let port = port.parse::<u16>().map_err(|_| wrong())?;
    let (host, port) = (check::host(Path::root(), host)?, check::port(Path::root(), port)?);
    Ok(v1::HostPort { host, port, ..v1::HostPort::default() })
}

/// One host, as the YAML file writes it.
pub fn one_host_of(config: &HostBackend) -> Result<v1::HostBackend, Error> {
    if config.app_protocol == Some(AppProtocol::A2a) {
        return Err(Error::invalid(Path::of("appProtocol"), "one agent is a backend a2a; this is for static hosts"));
    }
    let hosts = vec![host_port(&config.host).within(|| Path::of("host"))?];
    Ok(v1::HostBackend { hosts, version: version_of(config.app_protocol).into() })
}

/// An agent, as both spellings write it.
pub fn a2a(config: &A2aBackend, source: &ObjectRef) -> Result<v1::Backend, Error> {
    let host = host_port(&config.host).within(|| Path::of("host"))?;
    let host = v1::HostBackend { hosts: vec![host], version: v1::HttpVersion::Unspecified.into() };
    let public_url = config.public_url.as_deref().map(|url| public_url(url).within(|| Path::of("publicURL")));
    let a2a = v1::A2a {
        public_url: public_url.transpose()?.unwrap_or_default(),
        idempotent_messages: config.idempotent_messages.unwrap_or(false),
    };
    Ok(v1::Backend { a2a: Some(a2a), ..backend(key::backend(source), source, v1::backend::Kind::Host(host)) })
}

/// Scheme and authority, under which clients reach the gateway.
pub fn public_url(url: &str) -> Result<String, Error> {
    let url = check::http_url(Path::root(), url)?;
    match url.split_once("://") {
        Some((_, authority)) if !authority.contains(['/', '?']) => Ok(url),
        _ => Err(Error::invalid(Path::root(), format!("{url:?} has a path or a query, where only a host can stand"))),
    }
}

/// The backend `key` of one host.
pub fn host(host: v1::HostBackend, source: &ObjectRef, key: String) -> v1::Backend {
    backend(key, source, v1::backend::Kind::Host(host))
}

fn version_of(app_protocol: Option<AppProtocol>) -> v1::HttpVersion {
    match app_protocol {
        Some(AppProtocol::Http2 | AppProtocol::Grpc | AppProtocol::H2c) => v1::HttpVersion::H2c,
        Some(AppProtocol::GrpcWeb | AppProtocol::WebSocket | AppProtocol::A2a) | None => v1::HttpVersion::Unspecified,
    }
}

/// A static backend, as the `Backend` resource writes it.
pub fn static_backend(config: &StaticBackend, source: &ObjectRef) -> Result<v1::Backend, Error> {
    let mut hosts = Vec::with_capacity(config.hosts.len());
    for (i, h) in config.hosts.iter().enumerate() {
        hosts.push(one_host(h).within(|| Path::of("hosts").index(i))?);
    }
    if hosts.is_empty() {
        return Err(Error::Missing { path: Path::of("hosts") });
    }
    let host = v1::HostBackend { hosts, version: version_of(config.app_protocol).into() };
    let a2a = (config.app_protocol == Some(AppProtocol::A2a)).then(v1::A2a::default);
    Ok(v1::Backend { a2a, ..backend(key::backend(source), source, v1::backend::Kind::Host(host)) })
}

/// An MCP target with the backend behind which its server listens; `None` for a server without an address.
pub type Target = (v1::McpTarget, Option<v1::Backend>);

/// One static target of the `Backend` resource `source`: the target, and its host as a backend of its own.
pub fn static_target(name: &str, config: &McpStaticTarget, source: &ObjectRef) -> Result<Target, Error> {
    let protocol = match config.protocol.unwrap_or_default() {
        McpProtocol::StreamableHttp => Protocol::StreamableHttp,
        McpProtocol::Sse => Protocol::Sse,
    };
    http_target(name, &config.host, config.port, config.path.as_deref(), protocol, source)
}

/// The MCP backend `source` of the YAML file: itself first, then the hosts of its targets.
pub fn mcp_group(group: &McpGroup, source: &ObjectRef) -> Result<Vec<v1::Backend>, Error> {
    let mut targets: Vec<v1::McpTarget> = Vec::with_capacity(group.targets.len());
    let mut hosts = Vec::new();
    for (i, target) in group.targets.iter().enumerate() {
        let at = || Path::of("targets").index(i);
        if targets.iter().any(|t| t.name == target.name) {
            return Err(Error::invalid(at().key("name"), format!("{:?} is the name of two targets", target.name)));
        }
        let (mut made, host) = file_target(target, source).within(at)?;
        resilience(&mut made, target.timeouts.as_ref(), target.circuit_breaker.as_ref()).within(at)?;
        targets.push(made);
        hosts.extend(host);
    }
    if targets.is_empty() {
        return Err(Error::Missing { path: Path::of("targets") });
    }
    let mcp = mcp_backend(targets, group.prefix_mode, group.failure_mode, source);
    Ok(std::iter::once(mcp).chain(hosts).collect())
}

/// Gives a target its times and its circuit breaker.
pub fn resilience(
    target: &mut v1::McpTarget,
    timeouts: Option<&McpTimeouts>,
    breaker: Option<&McpCircuitBreaker>,
) -> Result<(), Error> {
    let milliseconds = |within: &'static str, field: &'static str, duration: Option<Duration>| match duration {
        Some(duration) if duration.milliseconds() == 0 => {
            Err(Error::invalid(Path::of(within).key(field), "must be more than 0".to_owned()))
        }
        other => Ok(other.map(Duration::milliseconds)),
    };
    if let Some(timeouts) = timeouts {
        target.connect_timeout_milliseconds = milliseconds("timeouts", "connectTimeout", timeouts.connect_timeout)?;
        target.request_timeout_milliseconds = milliseconds("timeouts", "requestTimeout", timeouts.request_timeout)?;
    }
    if let Some(breaker) = breaker {
        if breaker.consecutive_failures == Some(0) {
            let at = Path::of("circuitBreaker").key("consecutiveFailures");
            return Err(Error::invalid(at, "must be more than 0".to_owned()));
        }
        target.circuit_breaker = Some(v1::McpCircuitBreaker {
            consecutive_failures: breaker.consecutive_failures,
            duration_milliseconds: milliseconds("circuitBreaker", "duration", breaker.duration)?,
        });
    }
    Ok(())
}

/// The MCP backend `source` of these targets.
pub fn mcp_backend(
    targets: Vec<v1::McpTarget>,
    prefix: Option<McpPrefixMode>,
    failure: Option<McpFailureMode>,
    source: &ObjectRef,
) -> v1::Backend {
    let prefix_mode = match prefix.unwrap_or_default() {
        McpPrefixMode::Conditional => v1::McpPrefixMode::Unspecified,
        McpPrefixMode::Always => v1::McpPrefixMode::McpPrefixAlways,
        McpPrefixMode::Never => v1::McpPrefixMode::McpPrefixNever,
    };
    let failure_mode = match failure.unwrap_or_default() {
        McpFailureMode::FailOpen => v1::McpFailureMode::Unspecified,
        McpFailureMode::FailClosed => v1::McpFailureMode::McpFailureClosed,
    };
    let mcp = v1::McpBackend { targets, prefix_mode: prefix_mode.into(), failure_mode: failure_mode.into() };
    backend(key::backend(source), source, v1::backend::Kind::Mcp(mcp))
}

/// The target `name` of a server behind the Host or Service backend `backend_key`.
pub fn target_behind(
    name: &str,
    backend_key: String,
    path: Option<&str>,
    protocol: Protocol,
) -> Result<v1::McpTarget, Error> {
    let path = check::absolute_path(Path::of("path"), path.unwrap_or(default_mcp_path(protocol)))?;
    let http = v1::McpHttp { backend_key, path, protocol: protocol.into() };
    Ok(v1::McpTarget {
        name: name.to_owned(),
        transport: Some(v1::mcp_target::Transport::Http(http)),
        ..Default::default()
    })
}

fn file_target(target: &McpTarget, source: &ObjectRef) -> Result<Target, Error> {
    if !check::hostname(&target.name) || target.name.contains('_') {
        // The federated name of a tool is "<target>_<tool>": an underscore in a target's name would make it ambiguous.
        let reason = format!("{:?} is not a name: lower-case letters, digits, '-' and '.'", target.name);
        return Err(Error::invalid(Path::of("name"), reason));
    }
    let address = |field: &'static str, address: &McpAddress, protocol| {
        http_target(&target.name, &address.host, address.port, address.path.as_deref(), protocol, source)
            .within(|| Path::of(field))
    };
    match (&target.stdio, &target.mcp, &target.sse, &target.openapi) {
        (Some(stdio), None, None, None) => {
            if stdio.cmd.is_empty() {
                return Err(Error::Missing { path: Path::of("stdio.cmd") });
            }
            let stdio = v1::McpStdio {
                command: stdio.cmd.clone(),
                args: stdio.args.clone(),
                env: stdio.env.clone().into_iter().collect(),
            };
            let transport = Some(v1::mcp_target::Transport::Stdio(stdio));
            Ok((v1::McpTarget { name: target.name.clone(), transport, ..v1::McpTarget::default() }, None))
        }
        (None, Some(mcp), None, None) => address("mcp", mcp, Protocol::StreamableHttp),
        (None, None, Some(sse), None) => address("sse", sse, Protocol::Sse),
        (None, None, None, Some(api)) => {
            let within = || Path::of("openapi");
            let schema = match &api.schema {
                TextSource { file: None, inline: Some(text) } => text,
                _ => return Err(Error::Missing { path: Path::of("openapi.schema.inline") }),
            };
            openapi_target(&target.name, &api.host, api.port, api.path.as_deref(), schema, source).within(within)
        }
        _ => Err(Error::NotOne { path: Path::root(), members: "stdio, mcp, sse and openapi" }),
    }
}

/// The target `name` of an HTTP API with this OpenAPI document: the target, and its host as a backend of its own.
pub fn openapi_target(
    name: &str,
    host: &str,
    port: u16,
    path: Option<&str>,
    schema: &str,
    source: &ObjectRef,
) -> Result<Target, Error> {
    let (host, port) = (check::host(Path::of("host"), host)?, check::port(Path::of("port"), port)?);
    let path = path.map(|path| check::absolute_path(Path::of("path"), path)).transpose()?;
    // The proxy reads it again; here it is read so that its author hears of mistakes at once.
    Api::parse(schema, path.as_deref()).map_err(|e| Error::invalid(Path::of("schema"), e.to_string()))?;
    let key = key::backend_section(source, name);
    let openapi = v1::McpOpenApi { backend_key: key.clone(), schema: schema.to_owned(), path };
    let transport = Some(v1::mcp_target::Transport::Openapi(openapi));
    let host = v1::HostPort { host, port, ..v1::HostPort::default() };
    let host = v1::HostBackend { hosts: vec![host], version: v1::HttpVersion::Unspecified.into() };
    let target = v1::McpTarget { name: name.to_owned(), transport, ..v1::McpTarget::default() };
    Ok((target, Some(backend(key, source, v1::backend::Kind::Host(host)))))
}

fn http_target(
    name: &str,
    host: &str,
    port: u16,
    path: Option<&str>,
    protocol: Protocol,
    source: &ObjectRef,
) -> Result<Target, Error> {
    let (host, port) = (check::host(Path::of("host"), host)?, check::port(Path::of("port"), port)?);
    let host = v1::HostPort { host, port, ..v1::HostPort::default() };
    let key = key::backend_section(source, name);
    let target = target_behind(name, key.clone(), path, protocol)?;
    let host = v1::HostBackend { hosts: vec![host], version: v1::HttpVersion::Unspecified.into() };
    Ok((target, Some(backend(key, source, v1::backend::Kind::Host(host)))))
}

fn one_host(host: &HostPort) -> Result<v1::HostPort, Error> {
    Ok(v1::HostPort {
        host: check::host(Path::of("host"), &host.host)?,
        port: check::port(Path::of("port"), host.port)?,
        priority: host.priority.unwrap_or(0),
        region: host.region.clone().unwrap_or_default(),
        zone: host.zone.clone().unwrap_or_default(),
    })
}

fn backend(key: String, source: &ObjectRef, kind: v1::backend::Kind) -> v1::Backend {
    v1::Backend { key, source: Some(source.clone()), kind: Some(kind), ..v1::Backend::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> ObjectRef {
        ObjectRef { kind: "Backend".into(), namespace: "mcp".into(), name: "b".into() }
    }

    #[test]
    fn a_static_target_is_a_target_and_a_host() {
        let config = McpStaticTarget { host: "s.mcp.svc".into(), port: 3000, ..McpStaticTarget::default() };
        let (target, host) = static_target("t", &config, &source()).expect("converts");
        let Some(v1::mcp_target::Transport::Http(http)) = target.transport else { panic!("no http") };
        assert_eq!((http.path.as_str(), http.protocol()), ("/mcp", Protocol::StreamableHttp));
        assert_eq!(host.expect("a host").key, http.backend_key);
    }

    #[test]
    fn sse_has_its_own_default_path() {
        let config = McpStaticTarget {
            host: "s".into(),
            port: 1,
            protocol: Some(McpProtocol::Sse),
            ..McpStaticTarget::default()
        };
        let (target, _) = static_target("t", &config, &source()).expect("converts");
        let Some(v1::mcp_target::Transport::Http(http)) = target.transport else { panic!("no http") };
        assert_eq!(http.path, "/sse");
    }

    #[test]
    fn times_and_circuit_breaker_of_a_target() {
        let seconds = |n: u64| Some(Duration::from_milliseconds(n * 1000));
        let mut target = v1::McpTarget::default();
        let timeouts = McpTimeouts { connect_timeout: seconds(2), request_timeout: seconds(3) };
        let breaker = McpCircuitBreaker { consecutive_failures: Some(4), duration: None };
        resilience(&mut target, Some(&timeouts), Some(&breaker)).expect("converts");
        assert_eq!(target.connect_timeout_milliseconds, Some(2000));
        assert_eq!(target.request_timeout_milliseconds, Some(3000));
        let made = target.circuit_breaker.expect("a breaker");
        assert_eq!((made.consecutive_failures, made.duration_milliseconds), (Some(4), None));
        let none = McpTimeouts { connect_timeout: None, request_timeout: seconds(0) };
        let error = resilience(&mut target, Some(&none), None).expect_err("no time");
        assert!(error.to_string().contains("timeouts.requestTimeout"), "{error}");
        let none = McpCircuitBreaker { consecutive_failures: Some(0), duration: None };
        let error = resilience(&mut target, None, Some(&none)).expect_err("no failures");
        assert!(error.to_string().contains("circuitBreaker.consecutiveFailures"), "{error}");
    }

    #[test]
    fn two_targets_of_one_name_are_refused() {
        let target = || McpTarget {
            name: "a".into(),
            mcp: Some(McpAddress { host: "h".into(), port: 1, path: None }),
            ..McpTarget::default()
        };
        let error = mcp_group(&McpGroup { targets: vec![target(), target()], ..McpGroup::default() }, &source())
            .expect_err("same name");
        assert_eq!(error.path().to_string(), "targets[1].name");
    }

    #[test]
    fn an_agent_is_a_host_with_a_public_url() {
        let agent = |url: &str| A2aBackend {
            host: "agent:9999".into(),
            public_url: Some(url.into()),
            idempotent_messages: Some(true),
        };
        for good in ["https://agents.example.com", "http://10.0.0.1:8080", "http://[::1]", "http://[::1]:1"] {
            let made = a2a(&agent(good), &source()).expect("converts");
            assert!(matches!(made.kind, Some(v1::backend::Kind::Host(_))));
            assert_eq!(made.a2a, Some(v1::A2a { public_url: good.into(), idempotent_messages: true }));
        }
        for bad in
            ["agents.example.com", "ftp://a", "https://a/b", "https://u@a", "https://", "http://a:0", "http://a:x"]
        {
            assert_eq!(a2a(&agent(bad), &source()).expect_err(bad).path().to_string(), "publicURL");
        }
    }

    #[test]
    fn hosts_need_a_port() {
        assert!(host_port("example.com:80").is_ok());
        assert_eq!(host_port("[::1]:80").expect("brackets").host, "::1");
        for bad in ["example.com", "example.com:", "example.com:0", "::1:80", "example.com:99999", ":80"] {
            assert!(host_port(bad).is_err(), "{bad}");
        }
    }
}
