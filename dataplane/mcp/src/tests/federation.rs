//! Several targets as one server.

use http::Method;
use serde_json::{Value, json};

use super::client::{Gateway, To, compile, error, eventually, names, run, text};
use super::server::Server;

#[test]
fn names_of_all_targets_and_all_pages() {
    run(async {
        let many: Vec<String> = (0..120).map(|n| format!("t{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let one = Server::start_with(&many, |s| s.page = 25).await;
        let two = Server::start(&["echo"]).await;
        let gateway = Gateway::new(&[To::server("one", &one), To::server("two_b", &two)]);
        let mut client = gateway.client();
        let result = client.initialize("2025-11-25").await;
        assert_eq!(result["result"]["protocolVersion"], "2025-11-25");
        assert_eq!(result["result"]["serverInfo"]["name"], "agentgateway");
        assert_eq!(result["result"]["capabilities"]["resources"], json!({"listChanged": true, "subscribe": true}));
        let tools = client.tools().await;
        assert_eq!(tools.len(), 121);
        assert_eq!((&*tools[0], &*tools[119], &*tools[120]), ("one_t0", "one_t119", "two_b_echo"));
        assert_eq!(one.got("tools/list").len(), 5);
        let ids: std::collections::HashSet<String> =
            one.got("tools/list").iter().map(|g| g.message["id"].to_string()).collect();
        assert_eq!(ids.len(), 5, "an id is used once");

        let called = client.call("two_b_echo").await;
        assert_eq!(text(&called), format!("echo at {}", two.address.port()));
        assert_eq!(called["result"]["echo"], json!({"a": 1}));
        assert_eq!(called["result"]["content"][1]["uri"], "two.5fb+test://r");
        assert_eq!(called["result"]["content"][2]["resource"]["uri"], "two.5fb+test://e");
        for unknown in ["echo", "three_echo", "two_echo"] {
            let value = client.call(unknown).await;
            assert_eq!(error(&value), format!("Unknown tool: {unknown}"));
            assert_eq!(value["error"]["code"], -32602);
        }
        let value = client.request("tools/list", json!({"cursor": "25"})).await;
        assert_eq!(value["error"]["code"], -32602);
        assert_eq!(client.request("x/y", json!({})).await["error"]["code"], -32601);
    });
}

#[test]
fn prompts_resources_and_completions_find_their_target() {
    run(async {
        let (a, b) = (Server::start(&[]).await, Server::start(&[]).await);
        let gateway = Gateway::new(&[To::server("a", &a), To::server("b", &b)]);
        let mut client = gateway.open().await;
        let list = client.request("prompts/list", json!({})).await;
        assert_eq!(names(&list["result"]["prompts"], "name"), ["a_p", "b_p"]);
        let list = client.request("resources/list", json!({})).await;
        assert_eq!(names(&list["result"]["resources"], "uri"), ["a+test://r", "b+test://r"]);
        let list = client.request("resources/templates/list", json!({})).await;
        assert_eq!(names(&list["result"]["resourceTemplates"], "uriTemplate"), ["a+test://{x}", "b+test://{x}"]);
        let got = client.request("prompts/get", json!({"name": "b_p"})).await;
        assert_eq!(got["result"]["messages"][0]["content"]["resource"], json!({"uri": "b+test://e", "text": "p"}));
        let read = client.request("resources/read", json!({"uri": "b+test://r"})).await;
        assert_eq!(read["result"]["contents"][0]["uri"], "b+test://r");
        assert_eq!(b.got("resources/read")[0].message["params"]["uri"], "test://r");
        let read = client.request("resources/read", json!({"uri": "test://r"})).await;
        assert_eq!(read["error"]["code"], -32002);
        client.request("resources/subscribe", json!({"uri": "b+test://r"})).await;
        assert_eq!((a.got("resources/subscribe").len(), b.got("resources/subscribe").len()), (0, 1));
        for (reference, own) in [
            (json!({"type": "ref/prompt", "name": "b_p"}), json!({"type": "ref/prompt", "name": "p"})),
            (
                json!({"type": "ref/resource", "uri": "b+test://{x}"}),
                json!({"type": "ref/resource", "uri": "test://{x}"}),
            ),
        ] {
            let done = client.request("completion/complete", json!({"ref": reference, "argument": {}})).await;
            let sent: Value =
                serde_json::from_str(done["result"]["completion"]["values"][0].as_str().unwrap()).unwrap();
            assert_eq!(sent, own);
        }
        client.request("logging/setLevel", json!({"level": "info"})).await;
        assert_eq!((a.got("logging/setLevel").len(), b.got("logging/setLevel").len()), (1, 1));
        assert_eq!(client.request("ping", json!({})).await["result"], json!({}));
        assert_eq!(a.got("ping").len() + b.got("ping").len(), 0);
    });
}

#[test]
fn both_directions_reach_the_right_target() {
    run(async {
        let (a, b) = (Server::start(&["ask"]).await, Server::start(&["ask"]).await);
        let gateway = Gateway::new(&[To::server("a", &a), To::server("b", &b)]);
        let mut client = gateway.open().await;
        let mut answer = client.start("tools/call", json!({"name": "b_ask", "_meta": {"progressToken": 7}})).await;
        let (id, progress) = answer.event().await;
        assert_eq!((id.as_deref(), &progress["params"]["progressToken"]), (Some("1|e0"), &json!(7)));
        let (_, question) = answer.event().await;
        assert_eq!((&question["id"], &question["params"]["_meta"]["progressToken"]), (&json!("1|1"), &json!("1|5")));
        // Progress of the client's work, and the cancelling of a call, go to b alone.
        client.post(json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "1|5", "progress": 1}})).await;
        assert_eq!(b.got("notifications/progress")[0].message["params"]["progressToken"], 5);
        client.post(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})).await;
        assert_eq!((a.got("notifications/cancelled").len(), b.got("notifications/cancelled").len()), (0, 1));
        client.post(json!({"jsonrpc": "2.0", "id": "1|1", "result": {"text": "42"}})).await;
        let (_, response) = answer.event().await;
        assert_eq!((&response["id"], text(&response)), (&json!(1), "42"));
        answer.ends().await;
        assert_eq!(a.count_verb(&Method::POST), 2, "initialize and initialized");
        client.post(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})).await;
        assert_eq!(b.got("notifications/cancelled").len(), 1, "the call is over");
        client.post(json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"})).await;
        assert_eq!(
            (a.got("notifications/roots/list_changed").len(), b.got("notifications/roots/list_changed").len()),
            (1, 1)
        );
    });
}

#[test]
fn one_stream_brings_what_all_targets_say() {
    run(async {
        let (a, b) = (Server::start(&[]).await, Server::start(&[]).await);
        let gateway = Gateway::new(&[To::server("a", &a), To::server("b", &b)]);
        let client = gateway.open().await;
        let mut stream = client.get(None).await;
        eventually_listening(&mut stream, &[&a, &b]).await;
        b.say(&json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "test://r"}}))
            .await;
        assert_eq!(stream.event().await.1["params"]["uri"], "b+test://r");
        a.say(&json!({"jsonrpc": "2.0", "id": 3, "method": "roots/list"})).await;
        assert_eq!(stream.event().await.1["id"], "0|3");
        // A target that restarts is listened to again.
        b.kill().await;
        b.restart().await;
        let mut client = client;
        client.call("b_x").await;
        for _ in 0..3 {
            let (_, changed) = stream.event().await;
            assert!(changed["method"].as_str().unwrap().ends_with("list_changed"), "{changed}");
        }
        eventually_listening(&mut stream, &[&b]).await;
        b.say(&json!({"jsonrpc": "2.0", "method": "notifications/message"})).await;
        assert_eq!(stream.event().await.1["method"], "notifications/message");
    });
}

/// Reads the stream until the servers have their listeners; what targets say meanwhile would be lost on the test.
async fn eventually_listening(stream: &mut super::client::Answer, servers: &[&std::rc::Rc<Server>]) {
    let reading = async {
        let (_, said) = stream.event().await;
        panic!("too early: {said}");
    };
    let listening = eventually(|| servers.iter().all(|s| s.has_listener()));
    tokio::select! {
        () = reading => {}
        () = listening => {}
    }
}

#[test]
fn configurations_that_cannot_be_served() {
    run(async {
        let shared = Gateway::new(&[To::Stdio("a", "true", vec![])]).io.shared;
        assert!(compile(&shared, &[]).is_err());
        assert!(compile(&shared, &[To::Stdio("a", "", vec![])]).unwrap_err().contains("command"));
        let twice = [To::Stdio("a", "x", vec![]), To::Stdio("a", "y", vec![])];
        assert!(compile(&shared, &twice).unwrap_err().contains("two targets"));
    });
}
