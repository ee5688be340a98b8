//! Handshakes in memory against a server of ours.

use super::*;
use crate::server::{HTTP_ALPN, Server};
use crate::testing::{Authority, Leaf, handshake};

fn server(leaf: &Leaf) -> Server {
    let settings = v1::ServerTls { certificates: vec![leaf.pem()], ..v1::ServerTls::default() };
    Server::compile(&settings, HTTP_ALPN).expect("a server")
}

fn connects(settings: &v1::BackendTls, server: &Server) -> bool {
    let client = Client::compile(settings, None).expect("a client");
    handshake(server.config(), client.config(Offer::AnyHttp), client.server_name().clone()).is_ok()
}

fn uri(uri: &str) -> v1::SubjectAltName {
    v1::SubjectAltName { kind: Some(v1::subject_alt_name::Kind::Uri(uri.to_owned())) }
}

fn hostname(name: &str) -> v1::SubjectAltName {
    v1::SubjectAltName { kind: Some(v1::subject_alt_name::Kind::Hostname(name.to_owned())) }
}

#[test]
fn the_host_name_is_checked_unless_alternative_names_are_asked_for() {
    let authority = Authority::new();
    let server = server(&authority.leaf_for("x", &["a.example"], &["spiffe://td/a"]));
    let settings = |name: &str, names: Vec<v1::SubjectAltName>| v1::BackendTls {
        hostname: name.into(),
        subject_alt_names: names,
        authorities: vec![authority.bundle()],
        ..v1::BackendTls::default()
    };
    assert!(connects(&settings("a.example", vec![]), &server));
    assert!(!connects(&settings("b.example", vec![]), &server));
    assert!(connects(&settings("b.example", vec![uri("spiffe://td/a")]), &server), "the name is for SNI alone");
    assert!(!connects(&settings("a.example", vec![uri("spiffe://td/b")]), &server), "the name does not count");
    assert!(
        connects(&settings("b.example", vec![uri("spiffe://td/b"), hostname("a.example")]), &server),
        "one suffices"
    );
}

#[test]
fn only_the_authorities_that_are_given_are_trusted() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let expired = server(&authority.expired(&["a.example"]));
    let server = server(&authority.leaf(&["a.example"]));
    for names in [vec![], vec![hostname("a.example")]] {
        let of = |authorities: Vec<bytes::Bytes>| v1::BackendTls {
            hostname: "a.example".into(),
            authorities,
            subject_alt_names: names.clone(),
            ..v1::BackendTls::default()
        };
        assert!(connects(&of(vec![stranger.bundle(), authority.bundle()]), &server));
        assert!(!connects(&of(vec![stranger.bundle()]), &server));
        assert!(!connects(&of(vec![]), &server), "the machine's do not know it");
        assert!(!connects(&of(vec![authority.bundle()]), &expired));
    }
}

#[test]
fn identities_tell_settings_apart() {
    let (one, two) = (Authority::new(), Authority::new());
    let settings = |authority: &Authority, own: Option<v1::Certificate>| v1::BackendTls {
        hostname: "a.example".into(),
        authorities: vec![authority.bundle()],
        client_certificate: own,
        ..v1::BackendTls::default()
    };
    let identity = |settings: &v1::BackendTls, gateway: Option<&v1::Certificate>| {
        Client::compile(settings, gateway).expect("a client").identity()
    };
    let (leaf, other) = (one.leaf(&["c"]).pem(), one.leaf(&["c"]).pem());
    assert_eq!(identity(&settings(&one, None), None), identity(&settings(&one, None), None));
    let all = [
        identity(&settings(&one, None), None),
        identity(&settings(&two, None), None),
        identity(&settings(&one, None), Some(&leaf)),
        identity(&settings(&one, None), Some(&other)),
        identity(&settings(&one, Some(other.clone())), Some(&leaf)),
    ];
    for (i, a) in all.iter().enumerate() {
        assert_eq!(all.iter().position(|b| a == b), Some(i));
    }
}

#[test]
fn what_cannot_be_applied_makes_no_client() {
    let good = v1::BackendTls { hostname: "a.example".into(), ..v1::BackendTls::default() };
    assert!(Client::compile(&good, None).is_ok());
    for bad in [
        v1::BackendTls { refused: "no such ConfigMap".into(), ..good.clone() },
        v1::BackendTls { hostname: String::new(), ..good.clone() },
        v1::BackendTls { hostname: "*.example".into(), ..good.clone() },
        v1::BackendTls { authorities: vec![bytes::Bytes::from_static(b"x")], ..good.clone() },
        v1::BackendTls { subject_alt_names: vec![v1::SubjectAltName::default()], ..good.clone() },
        v1::BackendTls { client_certificate: Some(v1::Certificate::default()), ..good },
    ] {
        assert!(Client::compile(&bad, None).is_err(), "{bad:?}");
    }
}
