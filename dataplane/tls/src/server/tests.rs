//! Handshakes in memory.

use super::*;
use crate::client::{Client, Offer};
use crate::names::server_name;
use crate::testing::{Authority, Leaf, handshake};

fn settings(leaf: &Leaf) -> v1::ServerTls {
    v1::ServerTls { certificates: vec![leaf.pem()], ..v1::ServerTls::default() }
}

/// A client that trusts the authority and shows this certificate.
fn client(authority: &Authority, own: Option<&Leaf>) -> Client {
    let settings = v1::BackendTls {
        hostname: "a.example".into(),
        authorities: vec![authority.bundle()],
        client_certificate: own.map(Leaf::pem),
        ..v1::BackendTls::default()
    };
    Client::compile(&settings, None).expect("a client")
}

fn validated(authority: &Authority, leaf: &Leaf, mode: v1::client_validation::Mode) -> Server {
    let client_validation = Some(v1::ClientValidation { authorities: vec![authority.bundle()], mode: mode.into() });
    Server::compile(&v1::ServerTls { client_validation, ..settings(leaf) }, HTTP_ALPN).expect("a server")
}

fn connect(server: &Server, client: &Client) -> Result<Option<Identity>, String> {
    let name = server_name("a.example").expect("a name");
    let (connection, _) =
        handshake(server.config(), client.config(Offer::AnyHttp), name).map_err(|e| format!("{e:?}"))?;
    server.identity(&connection).map_err(|e| e.to_string())
}

#[test]
fn alpn_is_http_unless_others_are_named() {
    let authority = Authority::new();
    let leaf = authority.leaf(&["a.example"]);
    let chosen = |settings: &v1::ServerTls, alpn: &[&str], offer| {
        let server = Server::compile(settings, alpn).expect("a server");
        let name = server_name("a.example").expect("a name");
        let (connection, _) =
            handshake(server.config(), client(&authority, None).config(offer), name).expect("connects");
        connection.alpn_protocol().map(<[u8]>::to_vec)
    };
    assert_eq!(chosen(&settings(&leaf), HTTP_ALPN, Offer::AnyHttp).as_deref(), Some(&b"h2"[..]));
    assert_eq!(chosen(&settings(&leaf), HTTP_ALPN, Offer::Http1).as_deref(), Some(&b"http/1.1"[..]));
    assert_eq!(chosen(&settings(&leaf), &[], Offer::AnyHttp), None);
    let only = v1::ServerTls { alpn: vec!["http/1.1".into()], ..settings(&leaf) };
    assert_eq!(chosen(&only, HTTP_ALPN, Offer::AnyHttp).as_deref(), Some(&b"http/1.1"[..]));
}

#[test]
fn versions_are_bounded() {
    let leaf = Authority::new().leaf(&["a.example"]);
    let with = |lowest, highest| v1::ServerTls { min_version: lowest, max_version: highest, ..settings(&leaf) };
    let count = |lowest, highest| versions(&with(lowest, highest)).map(|v| v.len()).ok();
    assert_eq!(count(0, 0), Some(2));
    assert_eq!(count(1, 1), Some(1));
    assert_eq!(count(2, 0), Some(1));
    assert_eq!(count(2, 1), None);
    assert_eq!(count(99, 0), None, "of a later release: unknown is not no bound");
}

#[test]
fn valid_certificates_alone_are_let_in() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let leaf = authority.leaf(&["a.example"]);
    let server = validated(&authority, &leaf, v1::client_validation::Mode::AllowValidOnly);
    let good = authority.leaf_for("client", &["client.example"], &["spiffe://td/client"]);
    let identity = connect(&server, &client(&authority, Some(&good))).expect("connects").expect("an identity");
    assert_eq!(identity.spiffe.as_deref(), Some("spiffe://td/client"));
    for (what, own) in [
        ("none", None),
        ("of another authority", Some(stranger.leaf(&["client.example"]))),
        ("expired", Some(authority.expired(&["client.example"]))),
    ] {
        assert!(connect(&server, &client(&authority, own.as_ref())).is_err(), "{what}");
    }
}

#[test]
fn with_the_fallback_everybody_is_let_in_and_only_the_valid_are_known() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let leaf = authority.leaf(&["a.example"]);
    let server = validated(&authority, &leaf, v1::client_validation::Mode::AllowInsecureFallback);
    let good = authority.leaf(&["client.example"]);
    assert!(connect(&server, &client(&authority, Some(&good))).expect("connects").is_some());
    for own in [None, Some(stranger.leaf(&["client.example"])), Some(authority.expired(&["client.example"]))] {
        assert_eq!(connect(&server, &client(&authority, own.as_ref())), Ok(None));
    }
}

#[test]
fn a_session_does_not_lead_round_the_validation_of_another_listener() {
    let authority = Authority::new();
    let leaf = authority.leaf(&["a.example"]);
    let open = Server::compile(&settings(&leaf), HTTP_ALPN).expect("a server");
    let closed = validated(&authority, &leaf, v1::client_validation::Mode::AllowValidOnly);
    let client = client(&authority, None);
    assert_eq!(connect(&open, &client), Ok(None));
    let name = server_name("a.example").expect("a name");
    let (again, _) = handshake(open.config(), client.config(Offer::AnyHttp), name).expect("connects");
    assert_eq!(again.handshake_kind(), Some(HandshakeKind::Resumed), "tickets work");
    assert!(connect(&closed, &client).is_err());
}

#[test]
fn nothing_less_than_what_was_meant_is_served() {
    let leaf = Authority::new().leaf(&["a.example"]);
    let refused =
        |settings: v1::ServerTls| Server::compile(&settings, HTTP_ALPN).map(|_| ()).map_err(|e| e.to_string());
    assert!(refused(v1::ServerTls::default()).is_err());
    let empty = Some(v1::ClientValidation::default());
    let error = refused(v1::ServerTls { client_validation: empty, ..settings(&leaf) }).expect_err("trusts nobody");
    assert!(error.contains("no authority"), "{error}");
    let bad = v1::Certificate { private_key: leaf.pem().chain, ..leaf.pem() };
    let error = refused(v1::ServerTls { certificates: vec![leaf.pem(), bad], ..v1::ServerTls::default() });
    assert!(error.expect_err("no key").starts_with("certificate 2: "));
}

#[test]
fn a_connection_outlives_new_certificates_and_not_new_demands() {
    let (authority, other) = (Authority::new(), Authority::new());
    let leaf = authority.leaf(&["a.example"]);
    let open = Server::compile(&settings(&leaf), HTTP_ALPN).expect("a server");
    let renewed = Server::compile(&settings(&authority.leaf(&["a.example"])), HTTP_ALPN).expect("a server");
    let strict = validated(&authority, &leaf, v1::client_validation::Mode::AllowValidOnly);
    let of_others = validated(&other, &leaf, v1::client_validation::Mode::AllowValidOnly);
    assert!(renewed.accepts_connections_of(&open) && open.accepts_connections_of(&strict));
    assert!(!strict.accepts_connections_of(&open) && !of_others.accepts_connections_of(&strict));
    assert!(open.is_of(&settings(&leaf), HTTP_ALPN) && !open.is_of(&renewed.settings, HTTP_ALPN));
    assert!(!open.is_of(&settings(&leaf), &[]));
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_the_client_asks_for() {
    let authority = Authority::new();
    let (first, second) = (authority.leaf(&["a.example"]), authority.leaf(&["b.example"]));
    let both = v1::ServerTls { certificates: vec![first.pem(), second.pem()], ..v1::ServerTls::default() };
    let server = Server::compile(&both, HTTP_ALPN).expect("a server");
    for (name, leaf) in [("a.example", &first), ("b.example", &second)] {
        let name = server_name(name).expect("a name");
        let client = client(&authority, None);
        let (_, connection) = handshake(server.config(), client.config(Offer::AnyHttp), name).expect("connects");
        assert_eq!(connection.peer_certificates().expect("one")[0], leaf.der());
    }
}
