//! The rules of streamable HTTP towards the client.

use http::{HeaderMap, Method};
use serde_json::json;

use super::client::{Client, Gateway, To, run};
use super::server::Server;

async fn status(client: &Client<'_>, method: Method, headers: HeaderMap, body: &str) -> u16 {
    client.send(method, headers, body.to_owned()).await.status.as_u16()
}

#[test]
fn headers_and_statuses() {
    run(async {
        let server = Server::start(&["a"]).await;
        let gateway = Gateway::new(&[To::server("t", &server)]);
        let client = gateway.open().await;
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        let too_large = "x".repeat(5 << 20);
        let with = |name: &'static str, value: &str| {
            let mut headers = client.post_headers();
            if value.is_empty() {
                headers.remove(name)
            } else {
                headers.insert(name, value.parse().unwrap())
            };
            headers
        };
        let post = |headers, body| status(&client, Method::POST, headers, body);
        assert_eq!(post(client.post_headers(), list).await, 200);
        assert_eq!(post(with("content-type", "text/plain"), list).await, 415);
        assert_eq!(post(with("accept", "application/json"), list).await, 406);
        assert_eq!(post(with("accept", "text/event-stream"), list).await, 406);
        assert_eq!(post(with("accept", "*/*"), list).await, 200);
        assert_eq!(post(with("mcp-protocol-version", "2025-06-18"), list).await, 200);
        assert_eq!(post(with("mcp-protocol-version", "1999-01-01"), list).await, 400);
        assert_eq!(post(with("mcp-session-id", ""), list).await, 400);
        assert_eq!(post(with("mcp-session-id", "unknown"), list).await, 404);
        assert_eq!(post(client.post_headers(), "{").await, 400);
        assert_eq!(post(client.post_headers(), r#"{"id":1}"#).await, 400);
        assert_eq!(post(client.post_headers(), &too_large).await, 413);
        assert_eq!(status(&client, Method::PUT, client.post_headers(), list).await, 405);
        assert_eq!(status(&client, Method::GET, with("accept", "application/json"), "").await, 406);
        assert_eq!(status(&client, Method::GET, with("mcp-session-id", ""), "").await, 400);
        assert_eq!(status(&client, Method::DELETE, with("mcp-session-id", "unknown"), "").await, 404);
        let again = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
        assert_eq!(post(client.post_headers(), again).await, 400);
    });
}

#[test]
fn what_is_asked_before_the_handshake_is_answered_at_once() {
    run(async {
        let gateway = Gateway::new(&[To::Http("t", vec!["127.0.0.1:1".parse().unwrap()])]);
        let mut client = gateway.client();
        client.headers.insert("mcp-protocol-version", "2099-01-01".parse().unwrap());
        let answer = client.start("tools/list", json!({})).await;
        assert_eq!(answer.status, 400);
        let value = answer.json().await;
        assert_eq!(value["id"], 1);
        assert!(value["error"]["message"].as_str().unwrap().contains("2025-11-25"), "{value}");
    });
}

#[test]
fn one_target_is_passed_through() {
    run(async {
        let server = Server::start(&["a", "b"]).await;
        let gateway = Gateway::new(&[To::server("t", &server)]);
        let mut client = gateway.client();
        client.headers.insert("traceparent", "00-1-2-01".parse().unwrap());
        client.headers.insert("authorization", "Bearer secret".parse().unwrap());
        client.headers.insert("cookie", "secret".parse().unwrap());
        let result = client.initialize("2025-11-25").await;
        assert_eq!(result["result"]["protocolVersion"], "2025-06-18");
        assert_eq!(result["result"]["x-unknown"], json!([1.0]));
        assert_eq!(client.tools().await, ["a", "b"]);
        let answer = client.start("tools/call", json!({"name": "a", "arguments": {"x": 1.50}})).await;
        let log: Vec<_> = answer.telemetry.with(|fields| fields.iter().map(|(name, _)| *name).collect());
        assert_eq!(log, ["mcp.session", "mcp.method", "mcp.tool", "mcp.target"]);
        let value = answer.json().await;
        assert_eq!(value["result"]["content"][1]["uri"], "test://r");
        let sent = &server.got("tools/call")[0];
        let header = |name: &str| sent.headers.get(name).map(|v| v.to_str().unwrap());
        assert_eq!(header("mcp-protocol-version"), Some("2025-06-18"));
        assert_eq!(header("traceparent"), Some("00-1-2-01"));
        assert_eq!(header("host"), Some("mcp.test:80"));
        assert!(header("mcp-session-id").unwrap().ends_with("-1"));
        assert_eq!((header("authorization"), header("cookie")), (None, None));
        assert_eq!(server.got("notifications/initialized").len(), 1);
        // The rest of the protocol is the target's too.
        assert_eq!(client.request("x/y", json!({})).await["error"]["code"], -32601);
        assert_eq!(client.request("ping", json!({})).await["result"], json!({}));
        assert_eq!(server.got("ping").len(), 1);
    });
}

#[test]
fn batches_belong_to_one_version() {
    run(async {
        let server = Server::start_with(&["a"], |s| s.version = "2025-03-26").await;
        let gateway = Gateway::new(&[To::server("t", &server)]);
        let mut client = gateway.client();
        client.initialize("2025-03-26").await;
        let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/x"},
            {"jsonrpc":"2.0","id":2,"method":"tools/list"}]"#;
        let answer = client.post(batch).await;
        assert_eq!(answer.status, 200);
        let value = answer.json().await;
        assert_eq!((value[0]["id"].as_u64(), value[1]["id"].as_u64()), (Some(1), Some(2)));
        assert_eq!(value[1]["result"]["tools"][0]["name"], "a");
        assert_eq!(client.post(r#"[{"jsonrpc":"2.0","method":"notifications/x"}]"#).await.status, 202);
        assert_eq!(client.post("[]").await.status, 400);
        assert_eq!(client.post(r#"[{"jsonrpc":"2.0","id":1,"method":"initialize"}]"#).await.status, 400);
        assert_eq!(client.post("[1]").await.status, 400);
        // The header is of a later version.
        assert!(!server.got("ping")[0].headers.contains_key("mcp-protocol-version"));

        let server = Server::start(&["a"]).await;
        let gateway = Gateway::new(&[To::server("t", &server)]);
        assert_eq!(gateway.open().await.post(batch).await.status, 400);
    });
}

#[test]
fn a_servers_own_stream_and_its_questions_pass() {
    run(async {
        let server = Server::start(&["ask"]).await;
        let gateway = Gateway::new(&[To::server("t", &server)]);
        let mut client = gateway.open().await;
        let mut stream = client.get(Some("e7")).await;
        assert!(stream.is_stream());
        server.say(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})).await;
        assert_eq!(stream.event().await.1["method"], "notifications/tools/list_changed");
        let opened = server.got.borrow().iter().find(|g| g.verb == Method::GET).cloned().unwrap();
        assert_eq!(opened.headers["last-event-id"], "e7");

        let mut answer = client.start("tools/call", json!({"name": "ask", "_meta": {"progressToken": "p"}})).await;
        assert!(answer.is_stream());
        let (id, progress) = answer.event().await;
        assert_eq!((id.as_deref(), &progress["params"]["progressToken"]), (Some("e0"), &json!("p")));
        let (_, question) = answer.event().await;
        assert_eq!(question["id"], 1);
        assert_eq!(client.post(json!({"jsonrpc": "2.0", "id": 1, "result": {"text": "42"}})).await.status, 202);
        let (_, response) = answer.event().await;
        assert_eq!(response["result"]["content"][0]["text"], "42");
    });
}
