use agentgateway_upstream::Body;
use bytes::Bytes;
use http_body::Body as _;
use serde_json::json;

use super::*;
use crate::context::Remembered;
use crate::testing::{Nothing, context, request};

fn header(name: &str, value: &str) -> v1::Header {
    v1::Header { name: name.into(), value: value.into() }
}

fn compile(
    request: Option<v1::transformation::Message>,
    response: Option<v1::transformation::Message>,
) -> Transformation {
    Transformation::compile(&v1::Transformation { request, response }, "TrafficPolicy ns/p", &State::new())
        .expect("compiles")
}

fn sets(headers: &[(&str, &str)]) -> v1::transformation::Message {
    let set = headers.iter().map(|(name, value)| header(name, value)).collect();
    v1::transformation::Message { set, ..Default::default() }
}

fn body(expression: &str, is_json: bool) -> v1::transformation::Message {
    v1::transformation::Message { body: expression.into(), body_is_json: is_json, ..Default::default() }
}

/// Status where it fails, and the body as it is left.
async fn ask(made: &Transformation, head: &mut Parts, text: &str) -> (u16, String) {
    let mut body = Some(Body::from(Bytes::copy_from_slice(text.as_bytes())));
    let mut reach = Reach { services: &Nothing, body: &mut body };
    let answer = made.on_request_with_body(head, &mut context(), &mut reach).await;
    let status = answer.err().map_or(200, |reply| reply.response.status().as_u16());
    (status, read(body.unwrap_or_default()).await)
}

async fn read(body: Body) -> String {
    let read = Reading { limit: usize::MAX, partial: false }.read(&mut Some(body)).await;
    String::from_utf8(read.expect("reads").bytes.to_vec()).expect("text")
}

#[test]
fn values_are_those_of_the_request_as_it_came() {
    let message = v1::transformation::Message {
        set: vec![header("x-a", "request.headers['x-b']"), header("x-b", "request.headers['x-a']")],
        add: vec![header("x-c", "1 + 1"), header("x-c", "[request.method]"), header("x-d", "null")],
        remove: vec!["x-gone".into()],
        ..Default::default()
    };
    let mut head = request("GET", "/", &[("x-a", "a"), ("x-b", "b"), ("x-c", "0"), ("x-gone", "1")]);
    compile(Some(message), None).on_request(&mut head, &mut context()).expect("is transformed");
    let mut found: Vec<_> = head.headers.iter().map(|(n, v)| format!("{n}={}", v.to_str().expect("text"))).collect();
    found.sort();
    assert_eq!(found, ["x-a=b", "x-b=a", "x-c=0", "x-c=2", "x-c=[\"GET\"]"]);
}

#[test]
fn a_header_without_a_value_is_removed_and_never_left_as_it_was_sent() {
    let long = "x".repeat(9000);
    for value in ["jwt.sub", "null", "request.headers['x-none']", "'a\\nb'", "request.headers['x-long']", "b'bytes'"] {
        let made = compile(Some(sets(&[("x-user", value)])), None);
        let mut head = request("GET", "/", &[("x-user", "forged"), ("x-long", &long)]);
        made.on_request(&mut head, &mut context()).expect("is transformed");
        assert!(!head.headers.contains_key("x-user"), "{value}");
    }
}

#[test]
fn the_request_line_is_changed_or_the_request_refused() {
    let of = |name: &str, value: &str| {
        let mut head = request("POST", "http://a.example/x?q=1", &[("host", "a.example")]);
        let mut context = context();
        let answer = compile(Some(sets(&[(name, value)])), None).on_request(&mut head, &mut context);
        answer.map(|()| (head, context)).map_err(|reply| reply.response.status().as_u16())
    };
    let (head, _) = of(":path", "'/new' + request.path").expect("is transformed");
    assert_eq!(head.uri, "http://a.example/new/x");
    assert_eq!(of(":method", "'PUT'").expect("is transformed").0.method, "PUT");
    let (head, context) = of(":authority", "'b.example:81'").expect("is transformed");
    assert_eq!(
        (head.uri.to_string().as_str(), &head.headers["host"]),
        ("http://b.example:81/x?q=1", &"b.example:81".parse().expect("value"))
    );
    assert!(context.has_own_host && head.headers["x-forwarded-host"] == "a.example");
    for (name, value) in [
        (":path", "'new'"),
        (":path", "'/a b'"),
        (":path", "jwt.path"),
        (":method", "'A B'"),
        (":method", "'CONNECT'"),
        (":authority", "'u@b.example'"),
        (":authority", "''"),
    ] {
        assert_eq!(of(name, value).err(), Some(500), "{name} {value}");
    }
}

#[tokio::test]
async fn bodies_are_read_as_text_or_json_and_replaced() {
    let mut head = request("POST", "/", &[("content-length", "13")]);
    let json = compile(Some(body("{'model': request.body.model + '-1', 'n': request.body.n}", true)), None);
    let (status, new) = ask(&json, &mut head, "{\"model\":\"a\",\"n\":[1,2.5]}").await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&new).expect("JSON"), json!({"model": "a-1", "n": [1, 2.5]}));
    assert_eq!((status, &head.headers["content-length"]), (200, &new.len().into()));
    let text = compile(Some(body("request.body + '!'", false)), None);
    assert_eq!(ask(&text, &mut request("POST", "/", &[]), "hi").await, (200, "hi!".into()));
    let large = "x".repeat(2 * MAX_INLINE_TRANSFORMED_BYTES);
    assert_eq!(ask(&text, &mut request("POST", "/", &[]), &large).await, (200, format!("{large}!")));
    let looks = compile(Some(sets(&[("x-size", "request.body.size()")])), None);
    let mut head = request("POST", "/", &[]);
    assert_eq!(ask(&looks, &mut head, "as it is").await, (200, "as it is".into()));
    assert_eq!(head.headers["x-size"], "8");
}

#[tokio::test]
async fn bodies_that_cannot_be_transformed_go_no_further() {
    let json = compile(Some(body("request.body.a", true)), None);
    assert_eq!(ask(&json, &mut request("POST", "/", &[]), "{").await.0, 400);
    assert_eq!(ask(&json, &mut request("POST", "/", &[]), "{}").await.0, 500);
    assert_eq!(ask(&json, &mut request("POST", "/", &[("content-encoding", "gzip")]), "{}").await.0, 415);
    let large = format!("\"{}\"", "x".repeat(MAX_TRANSFORMED_BYTES));
    assert_eq!(ask(&json, &mut request("POST", "/", &[]), &large).await.0, 413);
}

#[tokio::test]
async fn responses_see_the_request_and_their_body() {
    let message = v1::transformation::Message {
        set: vec![
            header(":status", "response.code + 1"),
            header("x-path", "request.path"),
            header("x-kind", "response.headers['content-type']"),
        ],
        body: "response.body.items.map(i, i.name)".into(),
        body_is_json: true,
        ..Default::default()
    };
    let made = compile(None, Some(message));
    assert!(made.looks_back() && made.reads_response() && !made.reads_request());
    let mut context = context();
    let mut head = request("GET", "/as/sent", &[("accept-encoding", "gzip"), ("range", "bytes=0-1")]);
    context.request = Some(Remembered::of(&head));
    made.on_request(&mut head, &mut context).expect("passes");
    assert!(head.headers.is_empty(), "a compressed body, or a part of one, could not be read");
    let answer = |text: &'static str| {
        let response = Response::builder().header("content-type", "application/json").header("etag", "\"1\"");
        response.body(Body::from(Bytes::from_static(text.as_bytes()))).expect("a response")
    };
    let response =
        made.on_response_with_body(answer("{\"items\":[{\"name\":\"a\"},{\"name\":\"b\"}]}"), &mut context).await;
    assert_eq!((response.status().as_u16(), &response.headers()["x-path"]), (201, &"/as/sent".parse().expect("value")));
    assert_eq!(response.headers()["x-kind"], "application/json");
    assert!(!response.headers().contains_key("etag"));
    assert_eq!(response.body().size_hint().exact(), Some(9));
    assert_eq!(read(response.into_body()).await, "[\"a\",\"b\"]");
    // What was to be hidden is not shown.
    for (text, status) in [("secret", 502), ("{\"secret\":1}", 500)] {
        let response = made.on_response_with_body(answer(text), &mut context).await;
        assert_eq!((response.status().as_u16(), response.headers().contains_key("x-path")), (status, false));
        assert!(!read(response.into_body()).await.contains("secret"));
    }
    context.request = Some(Remembered::of(&request("HEAD", "/", &[])));
    let response = made.on_response_with_body(answer(""), &mut context).await;
    assert_eq!(response.status(), 201, "there is no body to be read");
    assert!(!response.headers().contains_key("etag"));
}

#[test]
fn what_is_no_transformation_does_not_compile() {
    let fails = |request, response| {
        let spec = v1::Transformation { request, response };
        Transformation::compile(&spec, "s", &State::new()).map(|_| ()).expect_err("must not compile")
    };
    fails(None, None);
    assert!(fails(Some(sets(&[("x", "response.code")])), None).starts_with("request: expression \"response.code\""));
    assert!(fails(None, Some(sets(&[("x", "request.body")]))).contains("has no field"));
    assert!(fails(None, Some(sets(&[(":path", "'/'")]))).contains("is not a header name"));
    assert!(fails(Some(sets(&[("x", "mcp.tool.name")])), None).contains("unknown variable"));
}
