//! The built program on a folder of manifests, with a client of its discovery server.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use agentgateway_proto::capabilities::Capabilities;
use agentgateway_proto::kind::Kind;
use agentgateway_proto::resource::Resource;
use agentgateway_proto::v1::policy_spec;
use agentgateway_xds_client::{ClientConfig, ConfigUpdate, Rejected, Started};

const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: infra}
spec:
  gatewayClassName: agentgateway
  listeners:
  - {name: http, port: 8080, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}
";

const ROUTE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: tools, namespace: mcp}
spec:
  parentRefs: [{name: gw, namespace: infra}]
  rules: [{backendRefs: [{group: gateway.kgateway.dev, kind: Backend, name: server}]}]
";

const BACKEND: &str = "
apiVersion: gateway.kgateway.dev/v1alpha1
kind: Backend
metadata: {name: server, namespace: mcp}
spec: {type: MCP, mcp: {targets: [{name: t, static: {host: localhost, port: 3000}}]}}
";

const POLICY: &str = "
apiVersion: gateway.kgateway.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: limit, namespace: mcp}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: tools}]
  rateLimit: {local: {tokenBucket: {maxTokens: 5, fillInterval: 1s}}}
";

struct Program {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    dir: tempfile::TempDir,
    xds: u16,
    health: u16,
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}

impl Program {
    fn start(files: &[(&str, &str)]) -> Program {
        let dir = tempfile::tempdir().expect("dir");
        let manifests = dir.path().join("manifests");
        std::fs::create_dir(&manifests).expect("dir");
        for (name, content) in files {
            std::fs::write(manifests.join(name), content).expect("writes");
        }
        let (xds, health, metrics) = (free_port(), free_port(), free_port());
        let mut child = Command::new(env!("CARGO_BIN_EXE_agentgateway-controlplane"))
            .arg("--manifests")
            .arg(&manifests)
            .arg("--token-file")
            .arg(dir.path().join("token"))
            .args(["--xds-address", &format!("127.0.0.1:{xds}")])
            .args(["--health-address", &format!("127.0.0.1:{health}")])
            .args(["--metrics-address", &format!("127.0.0.1:{metrics}")])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let stdout = lines(child.stdout.take().expect("stdout"));
        let stderr = lines(child.stderr.take().expect("stderr"));
        Program { child, stdout, stderr, dir, xds, health }
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.dir.path().join("manifests").join(name), content).expect("writes");
    }

    fn client(&self, gateway: &str, token: &Path) -> Started {
        agentgateway_xds_client::start(ClientConfig {
            address: format!("http://127.0.0.1:{}", self.xds).parse().expect("address"),
            root_ca: None,
            token: token.to_owned(),
            gateway: gateway.to_owned(),
            proxy: "test".to_owned(),
            release: "1".to_owned(),
            snapshot: None,
            capabilities: Capabilities::own(),
        })
    }
}

/// The first line that contains all of `parts`.
fn wait_for(lines: &Receiver<String>, parts: &[&str]) -> String {
    let end = Instant::now() + Duration::from_secs(10);
    let mut seen = Vec::new();
    while let Ok(line) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
        if parts.iter().all(|part| line.contains(part)) {
            return line;
        }
        seen.push(line);
    }
    panic!("no line with {parts:?} in {seen:#?}");
}

async fn update(client: &mut Started) -> ConfigUpdate {
    tokio::time::timeout(Duration::from_secs(10), client.updates.recv()).await.expect("in time").expect("an update")
}

fn has_deny(update: &ConfigUpdate) -> bool {
    update.changed.iter().any(|resource| match resource {
        Resource::Policy(policy) => {
            matches!(policy.spec.as_ref().and_then(|s| s.kind.as_ref()), Some(policy_spec::Kind::Deny(_)))
        }
        _ => false,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_served_and_followed_and_statuses_are_printed() {
    let program = Program::start(&[("gateway.yaml", GATEWAY), ("route.yaml", &format!("{ROUTE}---{BACKEND}"))]);
    let token = program.dir.path().join("token");
    wait_for(&program.stdout, &["Gateway infra/gw ", "Programmed=True", "address=127.0.0.1"]);
    let mut client = program.client("infra/gw", &token);
    let first = update(&mut client).await;
    let kinds: Vec<Kind> = first.changed.iter().map(Resource::kind).collect();
    for kind in [Kind::Backend, Kind::Route, Kind::Listener, Kind::Bind] {
        assert!(kinds.contains(&kind), "{kind:?} in {kinds:?}");
    }
    first.answer(Vec::new());

    program.write("policy.yaml", POLICY);
    let second = update(&mut client).await;
    assert_eq!(second.changed.iter().map(Resource::kind).collect::<Vec<_>>(), [Kind::Policy]);
    assert!(!has_deny(&second));
    let rejected = vec![Rejected {
        kind: Kind::Policy,
        key: second.changed[0].key().to_owned(),
        reason: "it cannot be compiled".to_owned(),
    }];
    second.answer(rejected);
    let line = wait_for(&program.stdout, &["TrafficPolicy mcp/limit", "=False", "it cannot be compiled"]);
    assert!(line.contains("infra/gw"), "{line}");

    std::fs::remove_file(program.dir.path().join("manifests/policy.yaml")).expect("removes");
    let third = update(&mut client).await;
    assert_eq!(third.removed.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [Kind::Policy]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_document_is_named_and_nothing_else_suffers_but_a_wrong_policy_closes_its_target() {
    let wrong = POLICY.replace("maxTokens", "maxTokns");
    let program = Program::start(&[
        ("a.yaml", &format!("broken: [\n---\n{GATEWAY}")),
        ("b.yaml", &format!("{ROUTE}---{BACKEND}")),
        ("c.yaml", &wrong),
    ]);
    wait_for(&program.stderr, &["a.yaml:", "document 1"]);
    wait_for(&program.stderr, &["c.yaml:7:", "document 1", "spec.rateLimit.local.tokenBucket"]);
    let mut client = program.client("infra/gw", &program.dir.path().join("token"));
    let first = update(&mut client).await;
    assert!(first.changed.iter().any(|r| r.kind() == Kind::Route), "the other documents are served");
    assert!(has_deny(&first), "a policy that cannot be read refuses what it was to protect");
    first.answer(Vec::new());

    program.write("c.yaml", POLICY);
    let mended = update(&mut client).await;
    assert!(!has_deny(&mended));
    assert!(!mended.changed.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_nothing_is_served_and_sigterm_ends_it() {
    let mut program = Program::start(&[("gateway.yaml", GATEWAY)]);
    wait_for(&program.stderr, &["discovery server listens"]);
    let guessed = program.dir.path().join("guessed");
    std::fs::write(&guessed, "guessed").expect("writes");
    let mut client = program.client("infra/gw", &guessed);
    wait_for(&program.stderr, &["discovery peer refused", "token"]);
    assert!(client.updates.try_recv().is_err());

    let response = http_get(program.health, "/readyz");
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    let stopped = Command::new("kill").arg(program.child.id().to_string()).status().expect("kill");
    assert!(stopped.success());
    let status = program.child.wait().expect("ends");
    assert!(status.success(), "{status}");
}

fn http_get(port: u16, path: &str) -> String {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connects");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").expect("sends");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("reads");
    response
}
