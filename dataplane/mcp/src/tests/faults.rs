//! Targets that fail, and what is left of the others.

use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Gateway, To, compile_without, error, run, text};
use super::server::Server;

#[test]
fn a_target_that_forgot_its_session_is_greeted_again() {
    run(async {
        for says_400 in [false, true] {
            let server = Server::start(&["a"]).await;
            server.says_400.set(says_400);
            let gateway = Gateway::new(&[To::server("t", &server)]);
            let mut client = gateway.open().await;
            server.forget_sessions();
            assert_eq!(text(&client.call("a").await), format!("a at {}", server.address.port()));
            assert_eq!(server.got("initialize").len(), 2);
            assert_eq!(server.got("notifications/initialized").len(), 2);
        }
    });
}

#[test]
fn what_the_client_asked_for_is_asked_for_again() {
    run(async {
        let (a, b) = (Server::start(&["x"]).await, Server::start(&["x"]).await);
        let gateway = Gateway::new(&[To::server("a", &a), To::server("b", &b)]);
        let mut client = gateway.open().await;
        client.request("logging/setLevel", json!({"level": "warning"})).await;
        client.request("resources/subscribe", json!({"uri": "b+test://r"})).await;
        b.forget_sessions();
        text(&client.call("b_x").await);
        assert_eq!(b.got("logging/setLevel")[1].message["params"], json!({"level": "warning"}));
        assert_eq!(b.got("resources/subscribe")[1].message["params"], json!({"uri": "test://r"}));
        assert_eq!((a.got("logging/setLevel").len(), a.got("resources/subscribe").len()), (1, 0));
    });
}

#[test]
fn a_killed_target_fails_alone_and_recovers_at_once() {
    run(async {
        let (good, bad) = (Server::start(&["a"]).await, Server::start(&["b"]).await);
        let gateway = Gateway::new(&[To::server("good", &good), To::server("bad", &bad)]);
        let mut client = gateway.open().await;
        bad.kill().await;
        let start = Instant::now();
        let failed = client.call("bad_b").await;
        assert!(error(&failed).starts_with("target \"bad\" is unreachable"), "{failed}");
        assert_eq!(failed["error"]["data"]["target"], "bad");
        assert_eq!(client.tools().await, ["good_a"]);
        assert!(start.elapsed() < Duration::from_secs(2));
        text(&client.call("good_a").await);
        bad.restart().await;
        text(&client.call("bad_b").await);
        assert_eq!(client.tools().await, ["good_a", "bad_b"]);
    });
}

#[test]
fn a_target_that_is_down_does_not_keep_a_session_from_opening() {
    run(async {
        let (good, bad) = (Server::start(&["a"]).await, Server::start(&["b"]).await);
        bad.kill().await;
        let gateway = Gateway::new(&[To::server("good", &good), To::server("bad", &bad)]);
        let mut client = gateway.open().await;
        assert_eq!(client.tools().await, ["good_a"]);
        bad.restart().await;
        assert_eq!(client.tools().await, ["good_a", "bad_b"]);

        good.kill().await;
        bad.kill().await;
        let mut other = gateway.client();
        assert!(error(&other.initialize("2025-06-18").await).contains("unreachable"));
        assert!(other.session.is_none());
    });
}

#[test]
fn a_target_that_hangs_does_not_hold_up_the_others() {
    run(async {
        let (good, slow) = (Server::start(&["a"]).await, Server::start(&["b"]).await);
        let gateway = Gateway::new(&[To::server("good", &good), To::server("slow", &slow)]);
        slow.delay.set(Duration::from_secs(60));
        let start = Instant::now();
        let mut client = gateway.open().await;
        assert_eq!(client.tools().await, ["good_a"]);
        text(&client.call("good_a").await);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    });
}

#[test]
fn a_call_is_not_made_twice() {
    run(async {
        let server = Server::start(&["crash", "a"]).await;
        let gateway = Gateway::new(&[To::server("t", &server)]);
        let mut client = gateway.open().await;
        let failed = client.call("crash").await;
        assert!(error(&failed).starts_with("target \"t\" failed"), "{failed}");
        assert_eq!(server.got("tools/call").len(), 1);
        text(&client.call("a").await);
    });
}

#[test]
fn the_session_stays_with_its_endpoint_until_that_is_gone() {
    run(async {
        let (one, two) = (Server::start(&["a"]).await, Server::start(&["a"]).await);
        let gateway = Gateway::new(&[To::Http("t", vec![one.address, two.address])]);
        let mut client = gateway.open().await;
        for _ in 0..10 {
            client.call("a").await;
        }
        let (home, other) = if one.got("tools/call").len() == 10 { (&one, &two) } else { (&two, &one) };
        assert_eq!((home.got("tools/call").len(), other.got("tools/call").len()), (10, 0));
        home.kill().await;
        for _ in 0..3 {
            assert_eq!(text(&client.call("a").await), format!("a at {}", other.address.port()));
        }
        assert_eq!(other.got("initialize").len(), 1);
    });
}

#[test]
fn the_session_moves_when_its_endpoint_is_taken_out() {
    run(async {
        let (one, two) = (Server::start(&["a"]).await, Server::start(&["a"]).await);
        let targets = [To::Http("t", vec![one.address, two.address])];
        let gateway = Gateway::new(&targets);
        let mut client = gateway.open().await;
        client.call("a").await;
        let (home, other) = if one.got("tools/call").len() == 1 { (&one, &two) } else { (&two, &one) };
        // It still answers; but the next thing may be that it does not even refuse.
        let changed = compile_without(&gateway.io.shared, &targets, Some(home.address)).unwrap();
        let gateway = Gateway { io: gateway.io.clone(), backend: changed.into() };
        assert_eq!(text(&client.at(&gateway).call("a").await), format!("a at {}", other.address.port()));
        assert_eq!(home.got("tools/call").len(), 1);
    });
}

#[test]
fn refused_credentials_reach_the_caller() {
    run(async {
        let server = Server::start(&["a"]).await;
        let gateway = Gateway::new(&[To::server("t", &server)]);
        let mut client = gateway.open().await;
        server.refuses.set(Some(401));
        let answer = client.start("tools/call", json!({"name": "a"})).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"x\"");
        assert!(answer.text().await.contains("wants other credentials"));
        server.refuses.set(Some(500));
        let failed = client.call("a").await;
        assert_eq!(failed["error"]["data"]["httpStatus"], 500);

        server.refuses.set(None);
        let good = Server::start(&["a"]).await;
        let gateway = Gateway::new(&[To::server("t", &server), To::server("good", &good)]);
        let mut client = gateway.open().await;
        server.refuses.set(Some(401));
        let answer = client.start("tools/call", json!({"name": "t_a"})).await;
        assert_eq!(answer.status, 200, "a status would speak for all targets");
        assert!(answer.text().await.contains("401"));
    });
}
