//! Sessions: whose they are, how they end, and how another process goes on with them.

use http::Method;
use serde_json::json;

use super::client::{Gateway, To, eventually, limits, run, text};
use super::server::Server;
use crate::limits::Limits;
use crate::token::SessionKey;

#[test]
fn a_session_belongs_to_its_caller() {
    run(async {
        let server = Server::start(&["a"]).await;
        let gateway = Gateway::new(&[To::server("t", &server)]);
        let mut ada = gateway.client();
        ada.claims = Some(json!({"iss": "i", "sub": "ada", "exp": 1}));
        ada.initialize("2025-06-18").await;
        ada.claims = Some(json!({"iss": "i", "sub": "ada", "exp": 2}));
        assert_eq!(ada.tools().await, ["a"]);
        for other in [None, Some(json!({"iss": "i", "sub": "bob"})), Some(json!({"iss": "j", "sub": "ada"}))] {
            ada.claims = other;
            assert_eq!(ada.start("tools/list", json!({})).await.status, 404);
            assert_eq!(ada.get(None).await.status, 404);
        }
    });
}

#[test]
fn an_ended_session_is_gone_here_and_at_its_target() {
    run(async {
        let server = Server::start(&["a"]).await;
        let gateway = Gateway::new(&[To::server("t", &server)]);
        let mut client = gateway.open().await;
        let answer = client.send(Method::DELETE, client.post_headers(), String::new()).await;
        assert_eq!(answer.status, 204);
        assert_eq!(client.start("tools/list", json!({})).await.status, 404);
        eventually(|| server.count_verb(&Method::DELETE) == 1).await;
        assert_eq!(gateway.io.shared.table.len(), 0);
    });
}

#[test]
fn another_replica_goes_on() {
    run(async {
        let (one, two) = (Server::start(&["a"]).await, Server::start(&["b"]).await);
        let targets = || [To::server("one", &one), To::server("two", &two)];
        let first = Gateway::with(&targets(), limits(), SessionKey::from_material(&[1; 32]).ok());
        let client = first.open().await;
        let second = Gateway::with(&targets(), limits(), SessionKey::from_material(&[1; 32]).ok());
        let mut resumed = client.at(&second);
        assert_eq!(text(&resumed.call("two_b").await), format!("b at {}", two.address.port()));
        assert_eq!(resumed.tools().await, ["one_a", "two_b"]);
        assert_eq!(two.got("initialize").len(), 1, "the target's own session goes on");
        assert_eq!(one.got("initialize").len(), 1);
        // A target that has forgotten it meanwhile is asked again.
        two.forget_sessions();
        let third = Gateway::with(&targets(), limits(), SessionKey::from_material(&[1; 32]).ok());
        assert_eq!(text(&client.at(&third).call("two_b").await), format!("b at {}", two.address.port()));
        assert_eq!(two.got("initialize").len(), 2);

        let foreign = Gateway::with(&targets(), limits(), SessionKey::from_material(&[2; 32]).ok());
        assert_eq!(client.at(&foreign).start("tools/list", json!({})).await.status, 404);
        let old = Limits { session_lifetime: std::time::Duration::ZERO, ..limits() };
        let late = Gateway::with(&targets(), old, SessionKey::from_material(&[1; 32]).ok());
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        assert_eq!(client.at(&late).start("tools/list", json!({})).await.status, 404);
    });
}

#[test]
fn workers_share_sessions() {
    run(async {
        let server = Server::start(&["a"]).await;
        let first = Gateway::new(&[To::server("t", &server)]);
        let second = Gateway::of(std::sync::Arc::clone(&first.io.shared), &[To::server("t", &server)]);
        let client = first.open().await;
        assert_eq!(client.at(&second).tools().await, ["a"]);
        assert_eq!(server.got("initialize").len(), 1, "a new configuration that says the same keeps the link");
    });
}

#[test]
fn as_many_sessions_as_allowed() {
    run(async {
        let server = Server::start(&["a"]).await;
        let gateway = Gateway::with(&[To::server("t", &server)], Limits { sessions: 1, ..limits() }, None);
        let first = gateway.open().await;
        let mut second = gateway.client();
        assert_eq!(second.initialize("2025-06-18").await["error"]["code"], -32603);
        assert!(second.session.is_none());
        first.send(Method::DELETE, first.post_headers(), String::new()).await;
        second.initialize("2025-06-18").await;
        assert!(second.session.is_some());
    });
}

#[test]
fn the_stream_of_a_session_ends_with_it() {
    run(async {
        let (one, two) = (Server::start(&[]).await, Server::start(&[]).await);
        let gateway = Gateway::new(&[To::server("a", &one), To::server("b", &two)]);
        let client = gateway.open().await;
        let stream = client.get(None).await;
        client.send(Method::DELETE, client.post_headers(), String::new()).await;
        stream.ends().await;
    });
}
