//! TLS and routes of streams. Of certificates only how many there are; never a key.

use agentgateway_proto::key;
use agentgateway_proto::v1;
use serde_json::{Value, json};

use super::route_backend;

/// With its printed name.
pub(super) fn tcp_route(route: &v1::TcpRoute, listener: &str) -> (String, Value) {
    let name = key::print_stream_route(route.source.as_ref(), route.rule_index, listener);
    let mut out = json!({
        "key": name,
        "routeName": key::print_object(route.source.as_ref()),
        "backends": route.backends.iter().map(|b| route_backend(b, None)).collect::<Vec<_>>(),
    });
    if !route.hostnames.is_empty() {
        out["hostnames"] = json!(route.hostnames);
    }
    (name, out)
}

/// With its printed name.
pub(super) fn udp_route(route: &v1::UdpRoute, listener: &str) -> (String, Value) {
    let name = key::print_stream_route(route.source.as_ref(), route.rule_index, listener);
    let out = json!({
        "key": name,
        "routeName": key::print_object(route.source.as_ref()),
        "backends": route.backends.iter().map(|b| route_backend(b, None)).collect::<Vec<_>>(),
    });
    (name, out)
}

pub(super) fn server_tls(tls: &v1::ServerTls) -> Value {
    let mut out = json!({ "certificates": tls.certificates.len() });
    if let Some(validation) = &tls.client_validation {
        out["clientValidation"] = json!({
            "authorities": validation.authorities.len(),
            "mode": validation.mode().as_str_name(),
        });
    }
    if !tls.alpn.is_empty() {
        out["alpn"] = json!(tls.alpn);
    }
    for (name, version) in [("minVersion", tls.min_version()), ("maxVersion", tls.max_version())] {
        if version != v1::TlsVersion::Unspecified {
            out[name] = version.as_str_name().into();
        }
    }
    out
}

pub(super) fn backend_tls(tls: &v1::BackendTls) -> Value {
    use v1::subject_alt_name::Kind;
    if !tls.refused.is_empty() {
        return json!({ "refused": tls.refused });
    }
    let names = tls.subject_alt_names.iter().filter_map(|name| match &name.kind {
        Some(Kind::Hostname(name) | Kind::Uri(name)) => Some(name),
        None => None,
    });
    json!({
        "hostname": tls.hostname,
        "subjectAltNames": names.collect::<Vec<_>>(),
        "authorities": if tls.authorities.is_empty() { json!("system") } else { json!(tls.authorities.len()) },
        "clientCertificate": tls.client_certificate.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_dumped() {
        let certificate = v1::Certificate { chain: "chain".into(), private_key: "secret".into() };
        let server = v1::ServerTls { certificates: vec![certificate.clone()], ..v1::ServerTls::default() };
        let backend = v1::BackendTls { client_certificate: Some(certificate), ..v1::BackendTls::default() };
        for dumped in [server_tls(&server), backend_tls(&backend)] {
            assert!(!dumped.to_string().contains("secret"), "{dumped}");
        }
    }
}
