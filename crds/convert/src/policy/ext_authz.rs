//! External authorization.

use agentgateway_proto::v1::{self, external_authorization::Protocol, policy_spec::Kind};
use agentgateway_types::policy::{DecisionCache, ExtAuthz, ExtAuthzProtocol, GrpcExtAuthz, HttpExtAuthz};
use agentgateway_types::{Duration, Path};

use super::spec;
use crate::check;
use crate::error::{Error, Within};

const MOST_TTL_MILLISECONDS: u64 = 3_600_000;

/// Another service decides; `backend` gives the key of the backend of its host.
pub fn ext_authz(
    policy: &ExtAuthz,
    backend: &mut dyn FnMut(v1::HostBackend) -> Result<String, Error>,
) -> Result<v1::PolicySpec, Error> {
    let (version, protocol) = match policy.protocol.as_ref() {
        None => (v1::HttpVersion::H2c, grpc(&GrpcExtAuthz::default())?),
        Some(ExtAuthzProtocol { grpc: Some(config), http: None }) => {
            (v1::HttpVersion::H2c, grpc(config).within(|| Path::of("protocol.grpc"))?)
        }
        Some(ExtAuthzProtocol { grpc: None, http: Some(config) }) => {
            (v1::HttpVersion::Unspecified, http(config).within(|| Path::of("protocol.http"))?)
        }
        Some(_) => return Err(Error::NotOne { path: Path::of("protocol"), members: "grpc and http" }),
    };
    let status = policy.status_on_error.unwrap_or(0);
    if !matches!(status, 0 | 400..=599) {
        return Err(Error::invalid(Path::of("statusOnError"), format!("{status} is no status of an error")));
    }
    let body = policy.forward_body.as_ref();
    if body.is_some_and(|b| b.max_size == 0) {
        return Err(Error::invalid(Path::of("forwardBody.maxSize"), "must be more than 0"));
    }
    let hosts = vec![crate::backend::host_port(&policy.host).within(|| Path::of("host"))?];
    let backend_key = backend(v1::HostBackend { hosts, version: version.into() }).within(|| Path::of("host"))?;
    Ok(spec(Kind::ExternalAuthorization(v1::ExternalAuthorization {
        backend_key,
        forward_body_bytes: body.map_or(0, |b| b.max_size),
        allow_partial_body: body.and_then(|b| b.allow_partial).unwrap_or(false),
        timeout_milliseconds: policy.timeout.map(Duration::milliseconds),
        fail_open: policy.fail_open.unwrap_or(false),
        status_on_error: status.into(),
        protocol: Some(protocol),
        cache: policy.cache.as_ref().map(|c| cache(c, body.is_some()).within(|| Path::of("cache"))).transpose()?,
    })))
}

/// Remembered decisions. A body is not in their key.
pub fn cache(config: &DecisionCache, with_body: bool) -> Result<v1::external_authorization::Cache, Error> {
    if with_body {
        return Err(Error::invalid(Path::root(), "must not be set where bodies are sent: they are in no key"));
    }
    if config.key.is_empty() {
        return Err(Error::Missing { path: Path::of("key") });
    }
    let ttl_milliseconds = config.ttl.milliseconds();
    if !(1..=MOST_TTL_MILLISECONDS).contains(&ttl_milliseconds) {
        return Err(Error::invalid(Path::of("ttl"), "must be more than 0, and not more than 1h"));
    }
    let max_entries = config.max_entries.unwrap_or(0);
    Ok(v1::external_authorization::Cache { key: config.key.clone(), ttl_milliseconds, max_entries })
}

fn grpc(config: &GrpcExtAuthz) -> Result<Protocol, Error> {
    Ok(Protocol::Grpc(v1::external_authorization::Grpc {
        allowed_headers: names("allowedHeaders", &config.allowed_headers)?,
        context_extensions: config.context.clone(),
        authority: String::new(),
    }))
}

fn http(config: &HttpExtAuthz) -> Result<Protocol, Error> {
    let path = config.path.as_deref();
    Ok(Protocol::Http(v1::external_authorization::Http {
        path_prefix: path.map_or(Ok(String::new()), |p| check::absolute_path(Path::of("path"), p))?,
        allowed_headers: names("allowedHeaders", &config.allowed_headers)?,
        allowed_response_headers: names("allowedResponseHeaders", &config.allowed_response_headers)?,
    }))
}

fn names(field: &'static str, names: &[String]) -> Result<Vec<String>, Error> {
    let checked = |(i, name): (usize, &String)| check::header_name(Path::of(field).index(i), name);
    names.iter().enumerate().map(checked).collect()
}

#[cfg(test)]
mod tests {
    use agentgateway_types::policy::ForwardBody;

    use super::*;

    fn convert(policy: &ExtAuthz) -> Result<v1::ExternalAuthorization, Error> {
        let converted = ext_authz(policy, &mut |host| Ok(format!("version {}", host.version)))?;
        let Some(Kind::ExternalAuthorization(converted)) = converted.kind else { panic!("no authorization") };
        Ok(converted)
    }

    fn of(protocol: Option<ExtAuthzProtocol>) -> ExtAuthz {
        ExtAuthz { host: "authz:9000".into(), protocol, ..ExtAuthz::default() }
    }

    #[test]
    fn grpc_needs_http2_and_is_the_default() {
        let converted = convert(&of(None)).expect("converts");
        assert_eq!(converted.backend_key, format!("version {}", i32::from(v1::HttpVersion::H2c)));
        assert!(matches!(converted.protocol, Some(Protocol::Grpc(_))));
        let http = ExtAuthzProtocol { http: Some(HttpExtAuthz::default()), grpc: None };
        let converted = convert(&of(Some(http))).expect("converts");
        assert_eq!(converted.backend_key, format!("version {}", i32::from(v1::HttpVersion::Unspecified)));
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let both = ExtAuthzProtocol { http: Some(HttpExtAuthz::default()), grpc: Some(GrpcExtAuthz::default()) };
        let http = |config| Some(ExtAuthzProtocol { http: Some(config), grpc: None });
        let name = HttpExtAuthz { allowed_headers: vec!["a b".into()], ..HttpExtAuthz::default() };
        let path = HttpExtAuthz { path: Some("x".into()), ..HttpExtAuthz::default() };
        let body = Some(ForwardBody::default());
        for (policy, field) in [
            (of(Some(both)), "protocol"),
            (of(http(name)), "protocol.http.allowedHeaders[0]"),
            (of(http(path)), "protocol.http.path"),
            (ExtAuthz { forward_body: body, ..of(None) }, "forwardBody.maxSize"),
            (ExtAuthz { status_on_error: Some(200), ..of(None) }, "statusOnError"),
            (ExtAuthz { host: "authz".into(), ..of(None) }, "host"),
        ] {
            assert_eq!(convert(&policy).expect_err(field).path().to_string(), field);
        }
    }
}
