//! Targets that are child processes, and targets over HTTP+SSE: both speak over one channel.

use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Client, Gateway, To, error, eventually, run, text};
use super::server::Server;
use crate::limits::Limits;
use crate::protocol::{Version, meta};

/// A server on stdin and stdout, with tools that do what servers should not.
const SERVER: &str = r#"
import sys, os, json, time, subprocess
def say(m): print(json.dumps(m), flush=True)
print("not a message", flush=True)
print("started", file=sys.stderr, flush=True)
for line in sys.stdin:
    m = json.loads(line)
    i, method, p = m.get("id"), m.get("method"), m.get("params") or {}
    if method is None:
        say({"jsonrpc": "2.0", "id": asked, "result": {"content": [{"type": "text", "text": m["result"]["text"]}]}})
    elif i is None: continue
    elif method == "initialize":
        time.sleep(float(sys.argv[1]) if len(sys.argv) > 1 else 0)
        say({"jsonrpc": "2.0", "id": i, "result": {"protocolVersion": p["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}})
    elif method == "tools/list":
        say({"jsonrpc": "2.0", "id": i, "result": {"tools": [{"name": "pid", "inputSchema": {}}]}})
    elif method == "tools/call":
        name = p["name"]
        if name == "die": os._exit(3)
        if name == "flood":
            print("x" * 3000000, flush=True)
            continue
        if name == "child":
            c = subprocess.Popen(["sleep", "1000"])
            say({"jsonrpc": "2.0", "id": i, "result": {"content": [{"type": "text", "text": str(c.pid)}]}})
            continue
        if name == "ask":
            asked = i
            say({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": p["_meta"]["progressToken"], "progress": 1}})
            say({"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": {}})
            continue
        if name == "hold":
            held = i
            continue
        if name == "blurt":
            say({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "secret"}})
            say({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {"message": "secret"}})
            answer = json.loads(sys.stdin.readline())
            say({"jsonrpc": "2.0", "id": held, "result": {"content": [{"type": "text", "text": "held"}]}})
            say({"jsonrpc": "2.0", "id": i, "result": {"content": [{"type": "text", "text": json.dumps(answer)}]}})
            continue
        if name == "changed": say({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        if name == "env":
            text = json.dumps(dict(os.environ))
        else:
            text = str(os.getpid())
        say({"jsonrpc": "2.0", "id": i, "result": {"content": [{"type": "text", "text": text}]}})
"#;

fn python<'a>(name: &'a str, delay: &'a str) -> To<'a> {
    To::Stdio(name, "python3", vec!["-c", SERVER, delay])
}

fn is_running(pid: &str) -> bool {
    // A process that has ended but was not waited for is no running one.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !s.contains(") Z "))
}

async fn pid(client: &mut Client<'_>, tool: &str) -> String {
    text(&client.call(tool).await).to_owned()
}

#[test]
fn a_process_per_session_that_ends_with_it() {
    run(async {
        let gateway = Gateway::new(&[python("t", "0")]);
        let (mut one, mut two) = (gateway.open().await, gateway.open().await);
        assert_eq!(one.tools().await, ["pid"]);
        let (first, second) = (pid(&mut one, "pid").await, pid(&mut two, "pid").await);
        assert_ne!(first, second);
        assert_eq!(pid(&mut one, "pid").await, first);
        let child = pid(&mut one, "child").await;
        one.send(http::Method::DELETE, one.post_headers(), String::new()).await;
        eventually(|| !is_running(&first) && !is_running(&child)).await;
        assert!(is_running(&second));
        gateway.io.shared.stop.cancel();
        gateway.io.shared.tasks.close();
        gateway.io.shared.tasks.wait().await;
        assert!(!is_running(&second));
    });
}

#[test]
fn a_process_that_died_is_started_again() {
    run(async {
        let gateway = Gateway::new(&[python("t", "0")]);
        let mut client = gateway.open().await;
        let first = pid(&mut client, "pid").await;
        let failed = client.call("die").await;
        assert!(error(&failed).contains("target \"t\" ended: exit status: 3"), "{failed}");
        let second = pid(&mut client, "pid").await;
        assert_ne!(first, second);
        let failed = client.call("flood").await;
        assert!(error(&failed).contains("larger than"), "{failed}");
        pid(&mut client, "pid").await;
    });
}

#[test]
fn a_command_that_cannot_be_started_says_why() {
    run(async {
        let server = Server::start(&["a"]).await;
        let gateway = Gateway::new(&[To::Stdio("bad", "/does/not/exist", vec![]), To::server("good", &server)]);
        let mut client = gateway.open().await;
        assert_eq!(client.tools().await, ["good_a"]);
        let failed = client.call("bad_x").await;
        assert!(error(&failed).contains("cannot be started: command \"/does/not/exist\""), "{failed}");
        let gateway = Gateway::new(&[To::Stdio("bad", "false", vec![])]);
        let failed = gateway.client().initialize("2025-06-18").await;
        assert!(error(&failed).contains("target \"bad\" ended: exit status: 1"), "{failed}");
    });
}

#[test]
fn a_cold_start_does_not_hold_up_the_others() {
    run(async {
        let server = Server::start(&["a"]).await;
        let gateway = Gateway::new(&[python("cold", "2"), To::server("good", &server)]);
        let start = Instant::now();
        let mut client = gateway.open().await;
        let mut stream = client.get(None).await;
        text(&client.call("good_a").await);
        assert_eq!(client.tools().await, ["good_a"]);
        assert!(start.elapsed() < Duration::from_millis(1_500), "{:?}", start.elapsed());
        assert_eq!(stream.event().await.1["method"], "notifications/tools/list_changed");
        assert_eq!(client.tools().await, ["cold_pid", "good_a"]);
        // A call waits for the one target that it needs.
        let mut second = gateway.open().await;
        pid(&mut second, "cold_pid").await;
    });
}

#[test]
fn both_directions_and_the_stream() {
    run(async {
        let gateway = Gateway::new(&[python("t", "0")]);
        let mut client = gateway.open().await;
        let mut answer = client.start("tools/call", json!({"name": "ask", "_meta": {"progressToken": "p"}})).await;
        assert!(answer.is_stream());
        assert_eq!(answer.event().await.1["params"]["progressToken"], "p");
        assert_eq!(answer.event().await.1["method"], "sampling/createMessage");
        client.post(json!({"jsonrpc": "2.0", "id": 1, "result": {"text": "hello"}})).await;
        let (_, response) = answer.event().await;
        assert_eq!(text(&response), "hello");
        // What belongs to no request waits for the stream.
        pid(&mut client, "changed").await;
        let mut stream = client.get(None).await;
        assert_eq!(stream.event().await.1["method"], "notifications/tools/list_changed");
    });
}

/// A call of a client without a session, which can be asked and wants to see the log.
async fn modern(client: &Client<'_>, tool: &str) -> String {
    let version = Version::MODERN.to_string();
    let mut headers = client.post_headers();
    headers.insert("mcp-protocol-version", version.parse().unwrap());
    headers.insert("mcp-method", "tools/call".parse().unwrap());
    headers.insert("mcp-name", tool.parse().unwrap());
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "_meta": {
        meta::VERSION: version, meta::CAPABILITIES: {"elicitation": {}}, meta::LOG_LEVEL: "debug"}}});
    client.send(http::Method::POST, headers, body.to_string()).await.text().await
}

#[test]
fn callers_that_share_a_session_see_nothing_of_each_other() {
    run(async {
        let gateway = Gateway::new(&[python("t", "0")]);
        let (one, two) = (gateway.client(), gateway.client());
        // Both have the process started before they meet in it.
        let (first, second) = (modern(&one, "pid").await, modern(&two, "pid").await);
        assert_eq!(first, second);
        let held = modern(&one, "hold");
        let asking = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            modern(&two, "blurt").await
        };
        let (held, asked) = tokio::join!(held, asking);
        for answer in [&held, &asked] {
            assert!(!answer.contains("secret") && !answer.contains("input_required"), "{answer}");
        }
        assert!(held.contains("held"), "{held}");
        // The process was told that its question has no answer.
        assert!(asked.contains("cannot tell which of its callers"), "{asked}");
        // The only one who calls is asked.
        assert!(modern(&two, "blurt").await.contains("input_required"));
    });
}

#[test]
fn the_environment_is_what_is_configured_and_no_secret() {
    run(async {
        let gateway = Gateway::new(&[python("t", "0")]);
        let mut client = gateway.open().await;
        let env: serde_json::Value = serde_json::from_str(&pid(&mut client, "env").await).unwrap();
        assert_eq!(env["SET"], "yes");
        assert!(env["PATH"].is_string());
        // Set for every test by cargo.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some() && env["CARGO_MANIFEST_DIR"].is_null());
    });
}

#[test]
fn as_many_processes_as_allowed() {
    run(async {
        let limits = Limits { processes: 1, ..super::client::limits() };
        let gateway = Gateway::with(&[python("t", "0")], limits, None);
        let one = gateway.open().await;
        let failed = gateway.client().initialize("2025-06-18").await;
        assert!(error(&failed).contains("1 processes run already"), "{failed}");
        one.send(http::Method::DELETE, one.post_headers(), String::new()).await;
        eventually(|| gateway.io.shared.processes.available_permits() == 1).await;
        gateway.open().await.tools().await;
    });
}

#[test]
fn a_target_over_http_and_sse() {
    run(async {
        let server = Server::start(&["a"]).await;
        let gateway = Gateway::new(&[To::Sse("t", server.address)]);
        let mut client = gateway.open().await;
        assert_eq!(client.tools().await, ["a"]);
        text(&client.call("a").await);
        let mut stream = client.get(None).await;
        server.say(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})).await;
        assert_eq!(stream.event().await.1["method"], "notifications/tools/list_changed");
        server.kill().await;
        assert!(error(&client.call("a").await).contains("target \"t\" is unreachable"));
        server.restart().await;
        text(&client.call("a").await);
    });
}
