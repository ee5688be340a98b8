//! TLS, TCP and UDP in the file.

use super::*;

/// A folder with a certificate, its key, and another key.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).expect("a certificate");
    let other = rcgen::KeyPair::generate().expect("a key");
    for (name, text) in [
        ("cert.pem", made.cert.pem()),
        ("key.pem", made.signing_key.serialize_pem()),
        ("other.pem", other.serialize_pem()),
    ] {
        fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

fn in_folder(text: &str) -> Result<Loaded, String> {
    let folder = folder();
    parse(text.as_bytes(), "f", &Environment::of(folder.path(), &[])).map_err(|e| e.to_string())
}

fn listeners(loaded: &Loaded) -> Vec<&v1::Listener> {
    let all = loaded.resources.iter();
    all.filter_map(|r| if let Resource::Listener(l) = r { Some(l) } else { None }).collect()
}

#[test]
fn tls_is_read_from_its_files_and_they_are_followed() {
    let loaded = in_folder(
        "binds:\n- port: 443\n  listeners:\n  - protocol: HTTPS\n    tls: {cert: cert.pem, key: key.pem, root: cert.pem, \
         minTLSVersion: 1.3}\n    routes: [{backends: [{host: 'a:80'}]}]\n",
    )
    .expect("loads");
    let tls = listeners(&loaded)[0].tls.clone().expect("TLS");
    assert!(tls.certificates[0].chain.starts_with(b"-----BEGIN CERTIFICATE"));
    assert_eq!(tls.min_version(), v1::TlsVersion::Tls13);
    assert!(tls.client_validation.is_some());
    assert_eq!(loaded.files.iter().filter(|f| f.ends_with("cert.pem") || f.ends_with("key.pem")).count(), 2);
    assert!(!format!("{loaded:?}").contains("PRIVATE KEY"), "no key is printed");
}

#[test]
fn streams_become_routes_of_their_own() {
    let loaded = in_folder(
        "binds:\n- port: 5432\n  listeners: [{protocol: TCP, tcpRoutes: [{backends: [{host: 'db:5432', weight: 3, \
         policies: {backendTLS: {root: cert.pem}}}, {host: '10.0.0.1:1'}]}]}]\n\
         - port: 53\n  listeners: [{protocol: UDP, udpRoutes: [{backends: [{host: '10.0.0.1:53'}]}]}]\n\
         - port: 443\n  proxyProtocol: required\n  listeners:\n  - {protocol: TLS, hostname: '*.a.example', tcpRoutes: [{hostnames: \
         [b.a.example], backends: [{host: 'b:443'}]}]}\n",
    )
    .expect("loads");
    assert_eq!(loaded.warnings, []);
    assert_eq!(
        keys(&loaded, Kind::Bind),
        ["tcp/0.0.0.0/443/default/default", "tcp/0.0.0.0/5432/default/default", "udp/0.0.0.0/53/default/default"]
    );
    let tcp: Vec<&v1::TcpRoute> =
        loaded.resources.iter().filter_map(|r| if let Resource::TcpRoute(t) = r { Some(t) } else { None }).collect();
    assert_eq!(tcp[0].backends.iter().map(|b| b.weight).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(tcp[1].hostnames, ["b.a.example"]);
    assert_eq!(keys(&loaded, Kind::UdpRoute).len(), 1);
    let backends = |key: &str| {
        loaded.resources.iter().find_map(|r| match r {
            Resource::Backend(b) if b.key == key => Some(b.clone()),
            _ => None,
        })
    };
    let tls = backends(&tcp[0].backends[0].backend_key).expect("a backend").tls.expect("encrypted");
    assert_eq!((tls.hostname.as_str(), tls.authorities.len()), ("db", 1));
    assert!(backends(&tcp[0].backends[1].backend_key).expect("a backend").tls.is_none());
    let bind = loaded.resources.iter().find_map(|r| match r {
        Resource::Bind(b) if b.port == 443 => Some(b.proxy_protocol()),
        _ => None,
    });
    assert_eq!(bind, Some(v1::bind::ProxyProtocol::Required));
}

#[test]
fn tls_of_an_mcp_backend_is_that_of_its_targets_unless_they_have_their_own() {
    let loaded = in_folder(
        "binds:\n- port: 80\n  listeners:\n  - routes:\n    - backends:\n      - policies: {backendTLS: {hostname: for.all}}\n        \
         mcp:\n          targets:\n          - {name: one, mcp: {host: a, port: 1}}\n          \
         - {name: two, mcp: {host: b, port: 1}, policies: {backendTLS: {}}}\n",
    )
    .expect("loads");
    let names: Vec<String> = loaded
        .resources
        .iter()
        .filter_map(|r| if let Resource::Backend(b) = r { b.tls.as_ref().map(|t| t.hostname.clone()) } else { None })
        .collect();
    assert_eq!(names, ["for.all", "b"]);
}

#[test]
fn what_is_wrong_is_named_where_it_stands() {
    let https =
        |tls: &str| format!("binds:\n- port: 443\n  listeners: [{{protocol: HTTPS, tls: {tls}, routes: [{{}}]}}]\n");
    let first = |listener: &str| format!("binds:\n- port: 443\n  listeners: [{listener}]\n");
    for (text, message) in [
        (first("{protocol: HTTPS}"), "f:3:15: binds[0].listeners[0]: tls must be set"),
        (https("{cert: cert.pem}"), "binds[0].listeners[0].tls.key: must be set"),
        (https("{cert: cert.pem, key: absent.pem}"), "binds[0].listeners[0].tls.key: "),
        (
            https("{cert: cert.pem, key: other.pem}"),
            "binds[0].listeners[0].tls: certificate 1: certificate and key cannot",
        ),
        (
            https("{cert: cert.pem, key: cert.pem}"),
            "binds[0].listeners[0].tls: certificate 1: there is no PEM private key",
        ),
        (https("{cert: cert.pem, key: key.pem, root: key.pem}"), "binds[0].listeners[0].tls: client certificates: "),
        (
            https("{cert: cert.pem, key: key.pem, minTLSVersion: 1.1}"),
            "tls.minTLSVersion: \"1.1\" is not one of 1.2, 1.3",
        ),
        (
            https("{cert: cert.pem, key: key.pem, minTLSVersion: 1.3, maxTLSVersion: 1.2}"),
            "binds[0].listeners[0].tls: the TLS versions allow no connection",
        ),
        (first("{protocol: TCP, routes: [{}]}"), "listeners[0].routes: is for listeners of HTTP and HTTPS alone"),
        (
            first("{protocol: TCP, hostname: a.b}"),
            "listeners[0].hostname: is for listeners of HTTP, HTTPS and TLS alone",
        ),
        (
            first("{protocol: HTTP, tls: {cert: cert.pem, key: key.pem}}"),
            "listeners[0].tls: is for listeners of HTTPS and TLS",
        ),
        (first("{protocol: UDP, tcpRoutes: [{}]}"), "listeners[0].tcpRoutes: is for listeners of TLS and TCP alone"),
        (first("{protocol: TCP, policies: {}}"), "listeners[0].policies: is for listeners of HTTP and HTTPS alone"),
        (
            first("{protocol: TLS, tcpRoutes: [{backends: [{host: 'a:1', policies: {backendTLS: {}}}]}]}"),
            "tcpRoutes[0].backends[0].policies.backendTLS: connections are passed through",
        ),
        (first("{protocol: TCP}, {protocol: TCP}"), "every host on this port already has the listener"),
        (
            first("{protocol: TLS}, {protocol: HTTP, hostname: a.b}"),
            "listeners[1].protocol: the protocol cannot share the port with that of the listener in line 3",
        ),
        (
            "binds:\n- port: 53\n  proxyProtocol: optional\n  listeners: [{protocol: UDP}]\n".into(),
            "f:3:18: binds[0].proxyProtocol: the PROXY protocol is for TCP connections",
        ),
        (
            first(
                "{protocol: TCP, tcpRoutes: [{backends: [{host: 'a:1', policies: {backendTLS: {subjectAltNames: ['a b']}}}]}]}",
            ),
            "tcpRoutes[0].backends[0].policies.backendTLS.subjectAltNames[0]: ",
        ),
    ] {
        let error = in_folder(&text).map(|_| ()).expect_err(&text);
        assert!(error.contains(message), "{text}\n{error}\nlacks {message}");
    }
}

#[test]
fn tcp_and_udp_share_a_port_number() {
    let text = "binds:\n- port: 53\n  listeners: [{protocol: UDP}]\n- port: 53\n  listeners: [{protocol: TCP}]\n";
    let loaded = in_folder(text).expect("loads");
    assert_eq!(keys(&loaded, Kind::Bind).len(), 2);
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings[0].ends_with("a listener without routes: datagrams are dropped"), "{warnings:?}");
    assert!(warnings[1].ends_with("a listener without routes: connections are refused"), "{warnings:?}");
}
