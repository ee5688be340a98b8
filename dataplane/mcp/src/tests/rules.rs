//! Rules on items: lists show what is allowed, and a call of anything else is answered as unknown.

use agentgateway_proto::v1;
use serde_json::json;

use super::client::{Gateway, To, error, names, run, text};
use super::server::Server;

#[test]
fn one_target() {
    run(async {
        let server = Server::start_with(&["a", "b", "c"], |s| s.page = 2).await;
        let gateway = Gateway::new(&[To::server("t", &server)]);
        let mut client = gateway.client().rules(&[r#"mcp.tool.name in ["a", "c"] && mcp.tool.target == "t""#]);
        client.initialize("2025-06-18").await;
        let page = client.request("tools/list", json!({})).await;
        assert_eq!(names(&page["result"]["tools"], "name"), ["a"]);
        let page = client.request("tools/list", json!({"cursor": page["result"]["nextCursor"]})).await;
        assert_eq!(names(&page["result"]["tools"], "name"), ["c"]);
        text(&client.call("a").await);
        let refused = client.call("b").await;
        assert_eq!((error(&refused), &refused["error"]["code"]), ("Unknown tool: b", &json!(-32602)));
        // A rule on tools alone hides the rest.
        let list = client.request("prompts/list", json!({})).await;
        assert_eq!(list["result"]["prompts"], json!([]));
        assert_eq!(client.request("prompts/get", json!({"name": "p"})).await["error"]["code"], -32602);
        assert_eq!(client.request("resources/read", json!({"uri": "test://r"})).await["error"]["code"], -32002);
        assert_eq!(client.request("resources/subscribe", json!({"uri": "test://r"})).await["error"]["code"], -32002);
        let reference = json!({"ref": {"type": "ref/prompt", "name": "p"}});
        assert_eq!(client.request("completion/complete", reference).await["error"]["code"], -32602);
        assert_eq!(server.got("tools/call").len(), 1);
        assert_eq!(server.got("prompts/get").len() + server.got("resources/read").len(), 0);
    });
}

#[test]
fn several_targets_by_either_name() {
    run(async {
        let (a, b) = (Server::start(&["x", "y"]).await, Server::start(&["x", "y"]).await);
        let gateway = Gateway::new(&[To::server("a", &a), To::server("b", &b)]);
        let mut client = gateway.client().rules(&[r#"mcp.tool.name in ["x", "b_y"]"#]);
        client.initialize("2025-06-18").await;
        assert_eq!(client.tools().await, ["a_x", "b_x", "b_y"]);
        text(&client.call("b_y").await);
        assert_eq!(error(&client.call("a_y").await), "Unknown tool: a_y");
        assert_eq!(a.got("tools/call").len(), 0);
    });
}

#[test]
fn arguments_and_callers() {
    run(async {
        let server = Server::start(&["x"]).await;
        let gateway = Gateway::new(&[To::server("t", &server)]);
        let mut client = gateway
            .client()
            .rules(&[r#"jwt.sub == "ada" && (!has(mcp.tool.arguments.n) || mcp.tool.arguments.n < 5)"#]);
        client.claims = Some(json!({"sub": "ada"}));
        client.initialize("2025-06-18").await;
        assert_eq!(client.tools().await, ["x"]);
        text(&client.request("tools/call", json!({"name": "x", "arguments": {"n": 4}})).await);
        let refused = client.request("tools/call", json!({"name": "x", "arguments": {"n": 5}})).await;
        assert_eq!(error(&refused), "Unknown tool: x");
    });
}

#[test]
fn a_name_that_servers_could_read_differently_is_refused() {
    run(async {
        let server = Server::start(&["good", "bad"]).await;
        let gateway = Gateway::new(&[To::server("t", &server)]);
        let mut client = gateway.client().rules(&[r#"mcp.tool.name == "good""#]);
        client.initialize("2025-06-18").await;
        for params in [
            r#"{"name":"good","Name":"bad"}"#,
            r#"{"name":"good","name":"bad"}"#,
            r#"{"name":"good","n\u0061me":"bad"}"#,
        ] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
            assert!(error(&client.post(body).await.json().await).starts_with("Invalid params"));
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"good"}},"Params":{params}}}"#
            );
            assert_eq!(client.post(body).await.status, 400);
        }
        assert_eq!(server.got("tools/call").len(), 0);
    });
}

#[test]
fn credentials_go_on_only_where_a_policy_says_so() {
    run(async {
        let server = Server::start(&["x"]).await;
        let gateway = Gateway::new(&[To::server("t", &server)]);
        for passthrough in [false, true] {
            let mut client = gateway.client();
            if passthrough {
                let kind = v1::backend_authentication::Kind::Passthrough(v1::backend_authentication::Passthrough {});
                client =
                    client.policy(v1::policy_spec::Kind::BackendAuth(v1::BackendAuthentication { kind: Some(kind) }));
            }
            client.headers.insert("authorization", "Bearer mine".parse().unwrap());
            client.initialize("2025-06-18").await;
            client.call("x").await;
            for method in ["initialize", "tools/call"] {
                let sent = server.got(method).pop().unwrap();
                assert_eq!(sent.headers.contains_key("authorization"), passthrough, "{method}");
            }
        }
    });
}

#[test]
fn the_gateways_own_key_goes_to_targets_in_the_callers_place() {
    run(async {
        let server = Server::start(&["x"]).await;
        let gateway = Gateway::new(&[To::server("t", &server)]);
        let key = v1::backend_authentication::Key { header: "x-key".into(), value: "own".into() };
        let kind = v1::backend_authentication::Kind::Key(key);
        let mut client =
            gateway.client().policy(v1::policy_spec::Kind::BackendAuth(v1::BackendAuthentication { kind: Some(kind) }));
        client.headers.insert("authorization", "Bearer mine".parse().unwrap());
        client.headers.insert("x-key", "mine".parse().unwrap());
        client.initialize("2025-06-18").await;
        let sent = server.got("initialize").pop().unwrap();
        assert_eq!(sent.headers["x-key"], "own");
        assert!(!sent.headers.contains_key("authorization"));
    });
}
