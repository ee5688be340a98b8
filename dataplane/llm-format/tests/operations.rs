//! What is not a chat: embeddings, counting, lists of models; and the same API where others serve it.

#![allow(clippy::unwrap_used, reason = "a test that fails is meant to panic")]

mod support;

use agentgateway_llm_format::{
    Call, Dialect, Error, Framing, Host, Model, Provider, Request, Upstream, Usage, model_info, model_list, token_count,
};
use bytes::Bytes;
use support::{asking, frame, request};

fn call(path: &str, body: &str) -> Request {
    let call = Call::recognise("POST", path, None, false).unwrap();
    Request::parse(call, Bytes::copy_from_slice(body.as_bytes())).unwrap()
}

fn at(dialect: Dialect, host: Host) -> Provider {
    Provider { host, ..Provider::direct(dialect) }
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn embeddings() {
    let body = r#"{"model":"e","input":["a","b"],"dimensions":2,"encoding_format":"base64"}"#;
    let two = call("/v1/embeddings", body);
    let sent = two.upstream(&Provider::direct(Dialect::OpenAiChat), "text-embedding-3-small").unwrap();
    assert_eq!(text(&sent.body), body.replace("\"e\"", "\"text-embedding-3-small\""));
    assert_eq!(sent.path, "/embeddings");

    let sent = two.upstream(&Provider::direct(Dialect::Gemini), "gemini-embedding-001").unwrap();
    assert_eq!(sent.path, "/models/gemini-embedding-001:batchEmbedContents");
    let one = r#"{"model":"models/gemini-embedding-001","content":{"parts":[{"text":"a"}]},"outputDimensionality":2}"#;
    assert_eq!(text(&sent.body), format!("{{\"requests\":[{one},{}]}}", one.replace("\"a\"", "\"b\"")));
    let answer = sent.exchange.answer(200, r#"{"embeddings":[{"values":[1,-0.5]},{"values":[0,2]}]}"#.into(), None);
    // 1.0 and -0.5 in single precision, little endian.
    assert_eq!(
        text(&answer.body),
        r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPwAAAL8="},{"object":"embedding","index":1,"embedding":"AAAAAAAAAEA="}],"model":"e","usage":{"prompt_tokens":0,"total_tokens":0}}"#
    );

    let sent = two.upstream(&at(Dialect::Gemini, Host::Vertex), "text-embedding-005").unwrap();
    assert_eq!(sent.path, "/publishers/google/models/text-embedding-005:predict");
    assert_eq!(
        text(&sent.body),
        r#"{"instances":[{"content":"a"},{"content":"b"}],"parameters":{"outputDimensionality":2}}"#
    );

    let titan = Provider::direct(Dialect::BedrockConverse);
    let refused = two.upstream(&titan, "amazon.titan-embed-text-v2:0").unwrap_err();
    assert_eq!(refused.field(), Some("input"));
    let sent = call("/v1/embeddings", r#"{"model":"e","input":"a"}"#)
        .upstream(&titan, "amazon.titan-embed-text-v2:0")
        .unwrap();
    assert_eq!(sent.path, "/model/amazon.titan-embed-text-v2%3A0/invoke");
    assert_eq!(text(&sent.body), r#"{"inputText":"a"}"#);
    let answer = sent.exchange.answer(200, r#"{"embedding":[0.25],"inputTextTokenCount":3}"#.into(), None);
    assert!(text(&answer.body).contains(r#""embedding":[0.25]"#));
    assert_eq!(answer.usage, Some(Usage { input: 3, ..Usage::default() }));
    assert_eq!(sent.exchange.answer(200, "{}".into(), None).status, 502);

    let tokens = call("/v1/embeddings", r#"{"model":"e","input":[1,2]}"#);
    assert_eq!(tokens.upstream(&titan, "t").unwrap_err().field(), Some("input"));
    assert!(matches!(two.upstream(&Provider::direct(Dialect::AnthropicMessages), "c"), Err(Error::NoOperation { .. })));
}

#[test]
fn counting() {
    let body = r#"{"model":"m","system":"S","messages":[{"role":"user","content":"Hi"}]}"#;
    let asked = call("/v1/messages/count_tokens", body);
    let sent = |provider: &Provider, model: &str| asked.upstream(provider, model).unwrap();
    let count =
        |sent: &Upstream, body: &'static str| text(&sent.exchange.answer(200, body.into(), None).body).to_owned();

    let direct = sent(&Provider::direct(Dialect::AnthropicMessages), "claude-opus-4-6");
    assert_eq!(
        (direct.path.as_str(), text(&direct.body)),
        ("/messages/count_tokens", &*body.replace("\"m\"", "\"claude-opus-4-6\""))
    );
    let vertex = sent(&at(Dialect::AnthropicMessages, Host::Vertex), "claude-opus-4-6");
    assert_eq!(vertex.path, "/publishers/anthropic/models/count-tokens:rawPredict");
    let gemini = sent(&Provider::direct(Dialect::Gemini), "gemini-3");
    assert_eq!(
        text(&gemini.body),
        r#"{"generateContentRequest":{"model":"models/gemini-3","systemInstruction":{"parts":[{"text":"S"}]},"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}}"#
    );
    assert_eq!(count(&gemini, r#"{"totalTokens":7}"#), r#"{"input_tokens":7}"#);
    let bedrock = sent(&Provider::direct(Dialect::BedrockConverse), "c");
    assert_eq!(
        text(&bedrock.body),
        r#"{"input":{"converse":{"system":[{"text":"S"}],"messages":[{"role":"user","content":[{"text":"Hi"}]}]}}}"#
    );
    assert_eq!(count(&bedrock, r#"{"inputTokens":7}"#), r#"{"input_tokens":7}"#);
    let responses = sent(&Provider::direct(Dialect::OpenAiResponses), "gpt-5");
    assert_eq!(
        text(&responses.body),
        r#"{"model":"gpt-5","instructions":"S","input":[{"type":"message","role":"user","content":"Hi"}]}"#
    );
    assert_eq!(responses.exchange.answer(200, "{}".into(), None).status, 502);
    assert!(matches!(asked.upstream(&Provider::direct(Dialect::OpenAiChat), "m"), Err(Error::NoOperation { .. })));
    assert_eq!(text(&token_count(Dialect::Gemini, 3)), r#"{"totalTokens":3}"#);

    let google = r#"{"generateContentRequest":{"contents":[{"parts":[{"text":"Hi"}]}]}}"#;
    let google = call("/v1beta/models/g:countTokens", google);
    let sent = google.upstream(&Provider::direct(Dialect::AnthropicMessages), "claude-opus-4-6").unwrap();
    assert_eq!(text(&sent.body), r#"{"model":"claude-opus-4-6","messages":[{"role":"user","content":"Hi"}]}"#);
}

#[test]
fn lists_of_models() {
    let models = [Model { id: "a/b".into(), owner: "x".into(), created: 1_700_000_000 }];
    assert_eq!(
        text(&model_list(Dialect::OpenAiChat, &models)),
        r#"{"object":"list","data":[{"id":"a/b","object":"model","created":1700000000,"owned_by":"x"}]}"#
    );
    assert_eq!(
        text(&model_list(Dialect::AnthropicMessages, &models)),
        r#"{"data":[{"type":"model","id":"a/b","display_name":"a/b","created_at":"2023-11-14T22:13:20Z"}],"has_more":false,"first_id":"a/b","last_id":"a/b"}"#
    );
    assert!(text(&model_info(Dialect::Gemini, &models[0])).starts_with(r#"{"name":"models/a/b","#));
    assert!(text(&model_list(Dialect::AnthropicMessages, &[])).ends_with(r#""first_id":null,"last_id":null}"#));
}

#[test]
fn claude_where_others_serve_it() {
    let body =
        r#"{"model":"m","stream":true,"max_tokens":5,"x_new":[1.50],"messages":[{"role":"user","content":"Hi"}]}"#;
    let asked = request(Dialect::AnthropicMessages, body, Framing::Sse);
    let vertex = asked.upstream(&at(Dialect::AnthropicMessages, Host::Vertex), "claude-sonnet-4@20250514").unwrap();
    assert_eq!(vertex.path, "/publishers/anthropic/models/claude-sonnet-4%4020250514:streamRawPredict");
    assert!(text(&vertex.body).contains("\"x_new\":[1.5]") && !text(&vertex.body).contains("\"model\""));
    assert!(text(&vertex.body).contains(r#""anthropic_version":"vertex-2023-10-16""#));

    let bedrock =
        asked.upstream(&at(Dialect::AnthropicMessages, Host::Bedrock), "anthropic.claude-opus-4-6-v1").unwrap();
    assert_eq!(bedrock.path, "/model/anthropic.claude-opus-4-6-v1/invoke-with-response-stream");
    assert!(!text(&bedrock.body).contains("\"stream\""));
    // `{"type":"message_delta",...}` and `{"type":"message_stop"}`, as Bedrock wraps them.
    let wrap = |event: &str| {
        use base64::Engine as _;
        frame("chunk", &format!("{{\"bytes\":\"{}\"}}", base64::engine::general_purpose::STANDARD.encode(event)))
    };
    let delta = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":4}}"#;
    let bytes = [wrap(delta), wrap(r#"{"type":"message_stop"}"#)].concat();
    let expected =
        format!("event: message_delta\ndata: {delta}\n\nevent: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n");
    for size in [1, 7, bytes.len()] {
        let mut stream = bedrock.exchange.stream(None, false);
        let mut out = Vec::new();
        for piece in bytes.chunks(size) {
            out.extend_from_slice(&stream.push(Bytes::copy_from_slice(piece)));
        }
        out.extend_from_slice(&stream.finish());
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert_eq!(stream.usage().map(|usage| usage.output), Some(4));
        assert_eq!(stream.fault(), None);
    }
    let mut stream = bedrock.exchange.stream(None, false);
    let out = stream.push(frame("throttlingException", r#"{"message":"slow down"}"#).into());
    assert!(text(&out).contains("rate_limit_error") && text(&out).contains("slow down"));

    // The same by way of another API.
    let asked = asking(Dialect::OpenAiChat, Framing::Sse);
    let bedrock =
        asked.upstream(&at(Dialect::AnthropicMessages, Host::Bedrock), "anthropic.claude-opus-4-6-v1").unwrap();
    let mut stream = bedrock.exchange.stream(None, false);
    let out = stream.push(bytes.into());
    assert!(text(&out).contains(r#""finish_reason":"stop""#) && text(&out).ends_with("data: [DONE]\n\n"));
}

#[test]
fn azure() {
    let asked = asking(Dialect::OpenAiChat, Framing::Whole);
    let path = |deployments| {
        let provider = at(Dialect::OpenAiChat, Host::Azure { deployments });
        format!("{}{}", provider.base_path(), asked.upstream(&provider, "my gpt").unwrap().path)
    };
    assert_eq!(path(false), "/openai/v1/chat/completions");
    assert_eq!(path(true), "/openai/deployments/my%20gpt/chat/completions");
}
