//! An MCP server over streamable HTTP or HTTP+SSE whose behaviour a test decides.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// What a server got.
#[derive(Debug, Clone)]
pub(super) struct Got {
    pub(super) verb: Method,
    pub(super) headers: HeaderMap,
    pub(super) message: Value,
}

/// Settings and state of a server.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) tools: Vec<Value>,
    pub(super) page: usize,
    pub(super) version: &'static str,
    pub(super) got: RefCell<Vec<Got>>,
    sessions: RefCell<HashSet<String>>,
    count: Cell<u32>,
    /// Streams that clients opened by GET.
    streams: RefCell<Vec<mpsc::Sender<Bytes>>>,
    /// Messages that wait for a client's response, by id.
    waiting: RefCell<HashMap<String, tokio::sync::oneshot::Sender<Value>>>,
    /// Answers 400 with a message instead of 404 for a session that it does not know.
    pub(super) says_400: Cell<bool>,
    pub(super) refuses: Cell<Option<u16>>,
    pub(super) delay: Cell<Duration>,
    connections: RefCell<Vec<AbortHandle>>,
    acceptor: RefCell<Option<AbortHandle>>,
}

impl Server {
    pub(super) async fn start(tools: &[&str]) -> Rc<Self> {
        Self::start_with(tools, |_| ()).await
    }

    pub(super) async fn start_with(tools: &[&str], set: impl FnOnce(&mut Self)) -> Rc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut server = Self {
            address: listener.local_addr().unwrap(),
            tools: tools.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect(),
            page: usize::MAX,
            version: "2025-06-18",
            got: RefCell::default(),
            sessions: RefCell::default(),
            count: Cell::new(0),
            streams: RefCell::default(),
            waiting: RefCell::default(),
            says_400: Cell::new(false),
            refuses: Cell::new(None),
            delay: Cell::default(),
            connections: RefCell::default(),
            acceptor: RefCell::default(),
        };
        set(&mut server);
        let server = Rc::new(server);
        server.listen(listener);
        server
    }

    fn listen(self: &Rc<Self>, listener: TcpListener) {
        let server = Rc::clone(self);
        let task = tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let connected = Rc::clone(&server);
                let connection = tokio::task::spawn_local(async move {
                    let service = hyper::service::service_fn(move |request| {
                        let server = Rc::clone(&connected);
                        async move { Ok::<_, Infallible>(server.answer(request).await) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
                server.connections.borrow_mut().push(connection.abort_handle());
            }
        });
        *self.acceptor.borrow_mut() = Some(task.abort_handle());
    }

    /// As a killed process: nothing listens, all connections and sessions are gone.
    pub(super) async fn kill(&self) {
        self.acceptor.borrow_mut().take().unwrap().abort();
        self.connections.borrow_mut().drain(..).for_each(|c| c.abort());
        self.streams.borrow_mut().clear();
        self.forget_sessions();
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    pub(super) async fn restart(self: &Rc<Self>) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        self.listen(socket.listen(64).unwrap());
    }

    pub(super) fn forget_sessions(&self) {
        self.sessions.borrow_mut().clear();
    }

    /// Messages of one method, oldest first.
    pub(super) fn got(&self, method: &str) -> Vec<Got> {
        self.got.borrow().iter().filter(|g| g.message["method"] == method).cloned().collect()
    }

    pub(super) fn count_verb(&self, verb: &Method) -> usize {
        self.got.borrow().iter().filter(|g| g.verb == *verb).count()
    }

    /// Says something on the streams that clients opened.
    pub(super) async fn say(&self, message: &Value) {
        let streams = self.streams.borrow().clone();
        assert!(!streams.is_empty(), "nobody listens");
        for stream in streams {
            let _ = stream.send(Bytes::from(format!("data: {message}\n\n"))).await;
        }
    }

    pub(super) fn has_listener(&self) -> bool {
        self.streams.borrow().iter().any(|s| !s.is_closed())
    }

    async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let message: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        self.got.borrow_mut().push(Got {
            verb: head.method.clone(),
            headers: head.headers.clone(),
            message: message.clone(),
        });
        if let Some(status) = self.refuses.get() {
            return Response::builder()
                .status(status)
                .header("www-authenticate", "Bearer realm=\"x\"")
                .body(Full::from("no").boxed_unsync())
                .unwrap();
        }
        match (&head.method, head.uri.path()) {
            (&Method::GET, "/sse") => return self.open_sse(),
            (&Method::POST, "/messages") => return self.sse_message(message),
            _ => {}
        }
        if message["method"] != "initialize" {
            let session = head.headers.get("mcp-session-id").map(|v| v.to_str().unwrap().to_owned());
            if !session.is_some_and(|s| self.sessions.borrow().contains(&s)) {
                let (status, text) = if self.says_400.get() {
                    (
                        400,
                        r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}"#,
                    )
                } else {
                    (404, "unknown session")
                };
                return Response::builder().status(status).body(Full::from(text).boxed_unsync()).unwrap();
            }
        }
        match head.method {
            Method::GET => events(self.stream()),
            Method::DELETE => {
                self.forget_sessions();
                Response::new(Full::default().boxed_unsync())
            }
            _ if message.get("method").is_none() => {
                let key = message["id"].to_string();
                if let Some(waiting) = self.waiting.borrow_mut().remove(&key) {
                    let _ = waiting.send(message);
                }
                accepted()
            }
            _ if message.get("id").is_none() => accepted(),
            _ => self.request(message).await,
        }
    }

    fn stream(&self) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(16);
        self.streams.borrow_mut().push(sender);
        receiver
    }

    async fn request(self: Rc<Self>, message: Value) -> Reply {
        tokio::time::sleep(self.delay.get()).await;
        if message["method"] == "tools/call" && message["params"]["name"] == "ask" {
            return self.ask(message);
        }
        if message["method"] == "tools/call" && message["params"]["name"] == "crash" {
            self.connections.borrow_mut().drain(..).for_each(|c| c.abort());
            std::future::pending::<()>().await;
        }
        let mut response = Response::new(Full::from(self.response(&message).to_string()).boxed_unsync());
        response.headers_mut().insert("content-type", "application/json".parse().unwrap());
        if message["method"] == "initialize" {
            self.count.set(self.count.get() + 1);
            let id = format!("{}-{}", self.address.port(), self.count.get());
            self.sessions.borrow_mut().insert(id.clone());
            response.headers_mut().insert("mcp-session-id", id.parse().unwrap());
        }
        response
    }

    /// Asks the client in the middle of a call, and answers with what it said.
    fn ask(self: Rc<Self>, message: Value) -> Reply {
        let (sender, receiver) = mpsc::channel(16);
        let (told, answer) = tokio::sync::oneshot::channel();
        self.waiting.borrow_mut().insert("1".into(), told);
        tokio::task::spawn_local(async move {
            let token = message["params"]["_meta"]["progressToken"].clone();
            let said = [
                json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": 1}}),
                json!({"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage",
                    "params": {"maxTokens": 1, "messages": [], "_meta": {"progressToken": 5}}}),
            ];
            for (n, said) in said.iter().enumerate() {
                sender.send(Bytes::from(format!("id: e{n}\ndata: {said}\n\n"))).await.unwrap();
            }
            let answer = answer.await.unwrap();
            let text = answer["result"]["text"].clone();
            let done =
                json!({"jsonrpc": "2.0", "id": message["id"], "result": {"content": [{"type": "text", "text": text}]}});
            sender.send(Bytes::from(format!("data: {done}\n\n"))).await.unwrap();
        });
        events(receiver)
    }

    fn response(&self, message: &Value) -> Value {
        let params = &message["params"];
        let result = match message["method"].as_str().unwrap() {
            "initialize" => json!({
                "protocolVersion": self.version,
                "capabilities": {"tools": {}, "prompts": {}, "resources": {"subscribe": true}, "logging": {}, "completions": {}},
                "serverInfo": {"name": "test", "version": "1"},
                "x-unknown": [1.0],
            }),
            "tools/list" => {
                let from = params["cursor"].as_str().map_or(0, |c| c.parse().unwrap());
                let to = (from + self.page.min(self.tools.len())).min(self.tools.len());
                let mut result = json!({"tools": self.tools[from..to]});
                if to < self.tools.len() {
                    result["nextCursor"] = to.to_string().into();
                }
                result
            }
            "tools/call" => json!({"content": [
                {"type": "text", "text": format!("{} at {}", params["name"].as_str().unwrap(), self.address.port())},
                {"type": "resource_link", "name": "r", "uri": "test://r"},
                {"type": "resource", "resource": {"uri": "test://e", "text": "x"}},
            ], "echo": params["arguments"]}),
            "prompts/list" => json!({"prompts": [{"name": "p"}]}),
            "prompts/get" => {
                json!({"messages": [{"role": "user", "content": {"type": "resource", "resource": {"uri": "test://e", "text": params["name"]}}}]})
            }
            "resources/list" => json!({"resources": [{"uri": "test://r", "name": "r"}]}),
            "resources/templates/list" => json!({"resourceTemplates": [{"uriTemplate": "test://{x}", "name": "t"}]}),
            "resources/read" => json!({"contents": [{"uri": params["uri"], "text": "x"}]}),
            "completion/complete" => json!({"completion": {"values": [params["ref"].to_string()]}}),
            "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => json!({}),
            _ => {
                return json!({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "Method not found"}});
            }
        };
        json!({"jsonrpc": "2.0", "id": message["id"], "result": result})
    }

    fn open_sse(&self) -> Reply {
        self.streams.borrow_mut().clear();
        let receiver = self.stream();
        let sender = self.streams.borrow().last().unwrap().clone();
        sender.try_send(Bytes::from_static(b"event: endpoint\ndata: /messages?session=1\n\n")).unwrap();
        events(receiver)
    }

    fn sse_message(&self, message: Value) -> Reply {
        if message.get("id").is_some() && message.get("method").is_some() {
            let response = self.response(&message);
            let stream = self.streams.borrow().last().unwrap().clone();
            stream.try_send(Bytes::from(format!("event: message\ndata: {response}\n\n"))).unwrap();
        }
        accepted()
    }
}

fn accepted() -> Reply {
    let mut response = Response::new(Full::default().boxed_unsync());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

fn events(receiver: mpsc::Receiver<Bytes>) -> Reply {
    let chunks = futures::stream::unfold(receiver, |mut r| async { r.recv().await.map(|c| (c, r)) });
    let body = StreamBody::new(chunks.map(|c| Ok(Frame::data(c))));
    let mut response = Response::new(body.boxed_unsync());
    response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
    response
}
