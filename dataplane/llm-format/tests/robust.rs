//! Whatever bytes come, from clients or providers: no panic, no unbounded buffer, and always an end.

#![allow(clippy::unwrap_used, reason = "a test that fails is meant to panic")]

mod support;

use std::path::Path;

use agentgateway_llm_format::{
    Call, Dialect, Fault, FaultKind, Framing, Provider, Request, TextFilter, TextKind, Verdict,
};
use bytes::Bytes;
use proptest::prelude::*;
use support::{asking, cases, providers, stream_bytes};

fn golden(kind: &str, name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    std::fs::read_to_string(folder.join(kind).join(name)).unwrap()
}

/// A provider's streams, as bytes.
fn streams(provider: Dialect) -> Vec<Vec<u8>> {
    let text = golden("streams", &format!("{}.txt", provider.as_str()));
    cases(&text).into_iter().map(|(_, text)| stream_bytes(provider, &text)).collect()
}

/// Pushes bytes in pieces of some size through every pair of APIs.
fn push(provider: Dialect, client: Dialect, bytes: &[u8], size: usize) {
    for framing in [Framing::Sse, Framing::JsonArray] {
        if framing == Framing::JsonArray && client != Dialect::Gemini {
            continue;
        }
        let exchange = asking(client, framing).upstream(&Provider::direct(provider), "p").unwrap().exchange;
        let mut stream = exchange.stream(None, true);
        let mut direct = exchange.stream(None, false);
        for piece in bytes.chunks(size.max(1)) {
            stream.push(Bytes::copy_from_slice(piece));
            direct.push(Bytes::copy_from_slice(piece));
        }
        stream.finish();
        direct.finish();
        assert!(stream.is_ended() && direct.is_ended());
        assert!(stream.push(Bytes::from_static(b"data: x\n\n")).is_empty());
    }
}

/// A change of some bytes.
#[derive(Debug, Clone)]
enum Change {
    Set(usize, u8),
    Remove(usize, usize),
    Repeat(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<usize>(), 1usize..40).prop_map(|(at, count)| Change::Remove(at, count)),
        (any::<usize>(), 1usize..40).prop_map(|(at, count)| Change::Repeat(at, count)),
    ]
}

fn apply(bytes: &mut Vec<u8>, changes: &[Change]) {
    for change in changes {
        if bytes.is_empty() {
            return;
        }
        match *change {
            Change::Set(at, byte) => {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            Change::Remove(at, count) => {
                let at = at % bytes.len();
                bytes.drain(at..(at + count).min(bytes.len()));
            }
            Change::Repeat(at, count) => {
                let at = at % bytes.len();
                let again = bytes[at..(at + count).min(bytes.len())].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_of_a_provider(bytes: Vec<u8>, size in 1usize..64) {
        for provider in Dialect::PROVIDERS {
            for client in Dialect::CLIENTS {
                push(provider, client, &bytes, size);
                let exchange = asking(client, Framing::Whole).upstream(&Provider::direct(provider), "p").unwrap().exchange;
                for status in [200, 400, 529] {
                    let answer = exchange.answer(status, Bytes::from(bytes.clone()), None);
                    prop_assert!(answer.status >= 400 || !answer.body.is_empty());
                }
            }
        }
    }

    #[test]
    fn damaged_streams(which: usize, changes in prop::collection::vec(change(), 1..6), size in 1usize..512) {
        for provider in Dialect::PROVIDERS {
            let all = streams(provider);
            let mut bytes = all[which % all.len()].clone();
            apply(&mut bytes, &changes);
            for client in Dialect::CLIENTS {
                push(provider, client, &bytes, size);
            }
        }
    }

    #[test]
    fn damaged_requests(which: usize, changes in prop::collection::vec(change(), 0..4)) {
        for client in Dialect::CLIENTS {
            let text = golden("requests", &format!("{}.json", client.as_str()));
            let tree: serde_json::Value = serde_json::from_str(&text).unwrap();
            let all: Vec<&serde_json::Value> = tree.as_object().unwrap().values().collect();
            let mut bytes = serde_json::to_vec(all[which % all.len()]).unwrap();
            apply(&mut bytes, &changes);
            let path = match client {
                Dialect::OpenAiResponses => "/v1/responses",
                Dialect::AnthropicMessages => "/v1/messages",
                Dialect::Gemini => "/v1beta/models/m:generateContent",
                _ => "/v1/chat/completions",
            };
            let call = Call::recognise("POST", path, None, false).unwrap();
            let Ok(mut request) = Request::parse(call, Bytes::from(bytes)) else { continue };
            for (_, provider, model) in providers() {
                if let Ok(upstream) = request.upstream(&provider, model) {
                    prop_assert!(serde_json::from_slice::<serde_json::Value>(&upstream.body).is_ok());
                }
            }
            let _ = request.replace_texts(|_, text| Some(text.to_uppercase()));
            let _ = request.size();
        }
    }
}

#[test]
fn an_endless_event_and_an_endless_answer_end_with_an_error() {
    let exchange =
        |client| asking(client, Framing::Sse).upstream(&Provider::direct(Dialect::OpenAiChat), "p").unwrap().exchange;
    for client in [Dialect::OpenAiChat, Dialect::OpenAiResponses] {
        let mut stream = exchange(client).stream(None, false);
        let chunk = Bytes::from(vec![b'x'; 1 << 20]);
        let pushed = (0..64).take_while(|_| !stream.push(chunk.clone()).is_empty() || !stream.is_ended()).count();
        assert!(pushed < 20 && stream.fault().is_some(), "{client}: {pushed}");
    }
    // What is kept for the last event of this API has a bound.
    let mut stream = exchange(Dialect::OpenAiResponses).stream(None, false);
    let text = "x".repeat(1 << 20);
    let event =
        Bytes::from(format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"));
    let pushed = (0..64).take_while(|_| {
        stream.push(event.clone());
        !stream.is_ended()
    });
    assert!(pushed.count() < 20);
    assert_eq!(stream.fault().map(|fault| fault.kind), Some(FaultKind::BadGateway));
}

/// Holds back the last byte of each text and masks digits; stops at a word.
#[derive(Default)]
struct Masker {
    held: String,
}

impl TextFilter for Masker {
    fn text(&mut self, _: u32, _: u32, kind: TextKind, text: &str) -> Verdict {
        if text.contains("stop!") {
            return Verdict::Reject(Fault::new(FaultKind::Blocked, "not this"));
        }
        if kind != TextKind::Text {
            return Verdict::Pass;
        }
        let mut all = std::mem::take(&mut self.held);
        all.push_str(text);
        self.held = all.pop().map(String::from).unwrap_or_default();
        Verdict::Replace(all.replace(|c: char| c.is_ascii_digit(), "#"))
    }

    fn end(&mut self, _: u32, _: u32, _: TextKind) -> Verdict {
        Verdict::Replace(std::mem::take(&mut self.held).replace(|c: char| c.is_ascii_digit(), "#"))
    }
}

#[test]
fn a_filter_masks_and_stops_streams_and_answers_of_every_api() {
    for provider in Dialect::PROVIDERS {
        let text = golden("streams", &format!("{}.txt", provider.as_str()));
        for client in Dialect::CLIENTS {
            let exchange = asking(client, Framing::Sse).upstream(&Provider::direct(provider), "p").unwrap().exchange;
            for (case, text) in
                cases(&text).into_iter().filter(|(case, _)| matches!(case.as_str(), "text" | "reasoning" | "thinking"))
            {
                let bytes = Bytes::from(stream_bytes(provider, &text.replace("\"42\"", "\"4 and 2\"")));
                let mut stream = exchange.stream(Some(Box::new(Masker::default())), true);
                let mut out = stream.push(bytes).to_vec();
                out.extend_from_slice(&stream.finish());
                let out = String::from_utf8(out).unwrap();
                assert_eq!(stream.fault(), None);
                let expected = if case == "text" { "Héllo" } else { "# and #" };
                assert!(stream.text().starts_with(expected), "{provider} to {client}, {case}: {}", stream.text());
                assert!(!out.contains("4 and 2"), "{out}");
                assert!(!out.contains("\"2\""), "what was held back comes masked: {out}");
            }
        }
    }
    let exchange = asking(Dialect::OpenAiChat, Framing::Sse)
        .upstream(&Provider::direct(Dialect::OpenAiChat), "p")
        .unwrap()
        .exchange;
    let mut stream = exchange.stream(Some(Box::new(Masker::default())), false);
    let event = |text: &str| {
        Bytes::from(format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"))
    };
    assert!(stream.push(event("a1")).ends_with(b"\n\n"));
    let end = String::from_utf8(stream.push(event("stop!")).to_vec()).unwrap();
    assert!(end.contains("content_filter") && end.contains("not this") && stream.is_ended(), "{end}");

    let whole = asking(Dialect::AnthropicMessages, Framing::Whole)
        .upstream(&Provider::direct(Dialect::OpenAiChat), "p")
        .unwrap()
        .exchange;
    let body = |text: &str| {
        Bytes::from(format!(
            "{{\"id\":\"1\",\"choices\":[{{\"message\":{{\"content\":\"{text}\"}},\"finish_reason\":\"stop\"}}]}}"
        ))
    };
    let masked = whole.answer(200, body("call 555"), Some(&mut Masker::default()));
    assert!(String::from_utf8(masked.body.to_vec()).unwrap().contains("call ###"));
    let stopped = whole.answer(200, body("stop!"), Some(&mut Masker::default()));
    assert_eq!((stopped.status, stopped.fault.map(|fault| fault.kind)), (400, Some(FaultKind::Blocked)));
}
