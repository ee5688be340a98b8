//! Client and provider speak the same API: what changes, and what does not.

#![allow(clippy::unwrap_used, reason = "a test that fails is meant to panic")]
use agentgateway_llm_format::{
    Call, Dialect, Document, Fault, FaultKind, Finish, Provider, Request, Role, Upstream, Usage,
};
use bytes::Bytes;

fn chat(body: &str) -> Request {
    let call = Call::recognise("POST", "/v1/chat/completions", None, false).unwrap();
    Request::parse(call, Bytes::copy_from_slice(body.as_bytes())).unwrap()
}

fn send(request: &Request, model: &str) -> Upstream {
    request.upstream(&Provider::direct(Dialect::OpenAiChat), model).unwrap()
}

#[test]
fn a_body_goes_on_as_it_came() {
    let text =
        r#"{ "model":"gpt-5","x-unknown":{"z":1.50,"a":[]} ,"messages":[{"role":"user","content":"Hi\u0021"}] }"#;
    let request = chat(text);
    assert_eq!(send(&request, "gpt-5").body, text);
    assert_eq!(send(&request, "gpt-\"6\"").body, text.replace("\"gpt-5\"", "\"gpt-\\\"6\\\"\""));
    assert_eq!(send(&request, "m").path, "/chat/completions");
}

#[test]
fn usage_of_a_stream_is_asked_for_and_not_shown() {
    let request = chat(r#"{"model":"m","stream":true,"messages":[]}"#);
    let upstream = send(&request, "m");
    assert_eq!(upstream.body, r#"{"stream_options":{"include_usage":true},"model":"m","stream":true,"messages":[]}"#);
    let options = chat(r#"{"model":"m","stream":true,"stream_options":{"x":1,"include_usage":false},"messages":[]}"#);
    assert!(
        send(&options, "m")
            .body
            .starts_with(br#"{"model":"m","stream":true,"stream_options":{"x":1,"include_usage":true}"#)
    );

    let shown = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}],\"usage\":null}\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n";
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n";
    let done = "data: [DONE]\n\n";
    let whole = [shown, usage, done].concat();
    for cut in 0..=whole.len() {
        let mut stream = upstream.exchange.stream(None, false);
        let (one, two) = whole.as_bytes().split_at(cut);
        let mut out = stream.push(Bytes::copy_from_slice(one)).to_vec();
        out.extend_from_slice(&stream.push(Bytes::copy_from_slice(two)));
        out.extend_from_slice(&stream.finish());
        assert_eq!(String::from_utf8(out).unwrap(), [shown, done].concat(), "cut at {cut}");
        let expected = Usage { input: 9, output: 2, cache_read: 4, ..Usage::default() };
        assert_eq!((stream.usage(), stream.finish_reason()), (Some(expected), Some(Finish::Length)));
    }
}

#[test]
fn a_stream_that_breaks_ends_with_an_error() {
    let request = chat(r#"{"model":"m","stream":true,"messages":[]}"#);
    let mut stream = send(&request, "m").exchange.stream(None, false);
    assert_eq!(
        stream.push(Bytes::from_static(b"data: {\"choices\":[]}\n\ndata: {\"cho")),
        "data: {\"choices\":[]}\n\n"
    );
    let end = String::from_utf8(stream.abort(Fault::new(FaultKind::Timeout, "too slow")).to_vec()).unwrap();
    assert_eq!(
        end,
        "data: {\"error\":{\"message\":\"too slow\",\"type\":\"server_error\",\"param\":null,\"code\":\"timeout\"}}\n\n"
    );
    assert!(stream.is_ended());
    assert_eq!(stream.push(Bytes::from_static(b"data: x\n\n")), "");
}

#[test]
fn policies_read_and_change_texts() {
    let mut request = chat(
        r#"{"model":"m","n":2,"max_tokens":5,"messages":[{"role":"system","content":"S"},{"role":"user","content":[{"type":"text","text":"mail me"}]},
        {"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"to\":\"me\"}"}}]},
        {"role":"tool","tool_call_id":"1","content":"sent to me"}]}"#,
    );
    assert_eq!((request.model(), request.choices(), request.max_output_tokens()), ("m", 2, Some(5)));
    let mut seen = Vec::new();
    request.texts(|place, text| seen.push(format!("{:?} {} {text}", place.place, place.message))).unwrap();
    assert_eq!(seen, ["System 0 S", "User 1 mail me", "ToolInput 2 me", "ToolOutput 3 sent to me"]);
    assert!(!request.replace_texts(|_, _| None).unwrap());
    assert!(request.replace_texts(|_, text| text.contains("me").then(|| text.replace("me", "**"))).unwrap());
    let body = String::from_utf8(request.body().to_vec()).unwrap();
    assert!(body.contains("mail **") && body.contains(r#"{\"to\":\"**\"}"#) && body.contains("sent to **"), "{body}");

    let change = |document: &mut Document<'_>| {
        document.default("max_tokens", agentgateway_llm_format::Json::Null)?;
        document.default("temperature", agentgateway_llm_format::Json::parse(b"0.5")?)?;
        document.set_field("model", "other".into())?;
        document.prepend(Role::System, "first")?;
        document.append(Role::System, "last of the instructions")?;
        document.append(Role::User, "last")
    };
    request.edit(change).unwrap();
    assert_eq!(request.model(), "other");
    let mut texts = Vec::new();
    request.texts(|_, text| texts.push(text.to_owned())).unwrap();
    assert_eq!(texts, ["first", "S", "last of the instructions", "mail **", "**", "sent to **", "last"]);
}

#[test]
fn what_is_no_request() {
    let parse = |body: &str| {
        let call = Call::recognise("POST", "/v1/chat/completions", None, false).unwrap();
        Request::parse(call, Bytes::copy_from_slice(body.as_bytes())).map(|_| ()).unwrap_err()
    };
    for (body, field) in [
        ("{\"messages\":[]}", Some("model")),
        ("{\"model\":5}", Some("model")),
        ("{\"model\":\"m\",\"stream\":\"yes\"}", Some("stream")),
        ("{\"model\":\"m\",\"n\":0}", Some("n")),
        ("{\"model\":\"m\",\"max_tokens\":-1}", Some("max_tokens")),
        ("{\"model\":\"a\",\"model\":\"b\"}", None),
        ("[]", None),
        ("{\"model\":\"m\"", None),
        ("<html>", None),
    ] {
        let error = parse(body);
        assert_eq!(error.field(), field, "{body}: {error}");
        assert_eq!(error.fault().kind.status(), 400);
    }
}
