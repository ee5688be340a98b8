//! What translation costs, in nanoseconds on one core: `cargo bench -p agentgateway-llm-format --profile ci`.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::time::Instant;

use agentgateway_llm_format::{Call, Dialect, Provider, Request};
use bytes::Bytes;

/// Tokens in a stream.
const EVENTS: usize = 200;

fn request(client: Dialect, stream: bool) -> Request {
    let text = "The quick brown fox jumps over the lazy dog, and \\\"says\\\" so.\\n".repeat(16);
    let (path, body) = match client {
        Dialect::OpenAiResponses => (
            "/v1/responses",
            format!(
                r#"{{"model":"m","stream":{stream},"instructions":"Be short.","input":[{{"role":"user","content":"{text}"}}]}}"#
            ),
        ),
        Dialect::AnthropicMessages => (
            "/v1/messages",
            format!(
                r#"{{"model":"m","stream":{stream},"max_tokens":99,"system":"Be short.","messages":[{{"role":"user","content":"{text}"}}]}}"#
            ),
        ),
        Dialect::Gemini => (
            "/v1beta/models/m:streamGenerateContent",
            format!(
                r#"{{"systemInstruction":{{"parts":[{{"text":"Be short."}}]}},"contents":[{{"parts":[{{"text":"{text}"}}]}}]}}"#
            ),
        ),
        _ => (
            "/v1/chat/completions",
            format!(
                r#"{{"model":"m","stream":{stream},"messages":[{{"role":"system","content":"Be short."}},{{"role":"user","content":"{text}"}}]}}"#
            ),
        ),
    };
    let query = (client == Dialect::Gemini).then_some("alt=sse");
    let call = Call::recognise("POST", path, query, false).unwrap();
    Request::parse(call, Bytes::from(body)).unwrap()
}

/// Events of a provider, one chunk each.
fn events(provider: Dialect) -> Vec<Bytes> {
    let of = |text: String| Bytes::from(text);
    let mut events: Vec<Bytes> = Vec::new();
    match provider {
        Dialect::AnthropicMessages => {
            events.push(of("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"c\",\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n".into()));
            events.push(of("event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n".into()));
            events.extend((0..EVENTS).map(|n| of(format!("event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"word {n} \"}}}}\n\n"))));
            events.push(of("event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":9}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n".into()));
        }
        Dialect::Gemini => {
            events.extend((0..EVENTS).map(|n| of(format!("data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"word {n} \"}}],\"role\":\"model\"}},\"index\":0}}],\"usageMetadata\":{{\"promptTokenCount\":9,\"totalTokenCount\":9}},\"modelVersion\":\"g\",\"responseId\":\"r\"}}\r\n\r\n"))));
            events.push(of("data: {\"candidates\":[{\"finishReason\":\"STOP\",\"index\":0}]}\r\n\r\n".into()));
        }
        _ => {
            events.extend((0..EVENTS).map(|n| of(format!("data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"gpt-5\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"word {n} \"}},\"finish_reason\":null}}]}}\n\n"))));
            events.push(of(
                "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
                    .into(),
            ));
        }
    }
    events
}

fn measure(name: &str, per: usize, mut run: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        let mut rounds = 0u32;
        while started.elapsed().as_millis() < 200 {
            run();
            rounds += 1;
        }
        best = best.min(started.elapsed().as_nanos() as f64 / f64::from(rounds) / per as f64);
    }
    println!("{name:58} {best:10.0} ns");
}

fn main() {
    for client in Dialect::CLIENTS {
        let asked = request(client, true);
        let (body, call) = (asked.body().clone(), {
            let path = match client {
                Dialect::OpenAiResponses => "/v1/responses",
                Dialect::AnthropicMessages => "/v1/messages",
                Dialect::Gemini => "/v1beta/models/m:generateContent",
                _ => "/v1/chat/completions",
            };
            Call::recognise("POST", path, None, false).unwrap()
        });
        measure(&format!("read a request of {client}, {} bytes", body.len()), 1, || {
            black_box(Request::parse(call.clone(), body.clone()).unwrap());
        });
        for provider in Dialect::PROVIDERS {
            let provider = Provider::direct(provider);
            measure(&format!("  write it for {}", provider.dialect), 1, || {
                black_box(asked.upstream(&provider, "claude-or-so").unwrap());
            });
        }
    }
    for provider in [Dialect::OpenAiChat, Dialect::AnthropicMessages, Dialect::Gemini] {
        let chunks = events(provider);
        for client in Dialect::CLIENTS {
            let exchange = request(client, true).upstream(&Provider::direct(provider), "m").unwrap().exchange;
            measure(&format!("an event of {provider} for {client}"), EVENTS, || {
                let mut stream = exchange.stream(None, false);
                for chunk in &chunks {
                    black_box(stream.push(chunk.clone()));
                }
                black_box(stream.finish());
            });
        }
    }
}
