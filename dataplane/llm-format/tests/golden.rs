//! The whole matrix of client and provider APIs against files: requests, answers, streams, errors.
//!
//! `UPDATE_GOLDEN=1 cargo test -p agentgateway-llm-format --test golden` writes them anew; what changed is to be read by eye.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is meant to panic")]

mod support;

use std::path::{Path, PathBuf};

use agentgateway_llm_format::{Dialect, Framing, Json, Provider};
use bytes::Bytes;
use support::{asking, cases, pretty, providers, request, stream_bytes};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn input(kind: &str, name: &str) -> String {
    std::fs::read_to_string(folder().join(kind).join(name)).unwrap()
}

fn check(kind: &str, name: &str, made: &str) {
    let path = folder().join("expected").join(kind).join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, made).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if made != expected {
        let differs = made.lines().zip(expected.lines()).position(|(made, expected)| made != expected);
        let line = differs.unwrap_or_else(|| made.lines().count().min(expected.lines().count()));
        let of = |text: &str| text.lines().nth(line).unwrap_or("(end)").to_owned();
        panic!("{} differs in line {}:\n made {}\n file {}", path.display(), line + 1, of(made), of(&expected));
    }
}

/// A value as text, in one line.
fn line(value: &Json<'_>) -> String {
    let mut text = String::new();
    pretty(value, 0, &mut text);
    // Strings have no line ends of their own: those are escaped.
    text.split('\n').map(str::trim_start).collect()
}

#[test]
fn requests() {
    for client in Dialect::CLIENTS {
        let text = input("requests", &format!("{client}.json", client = client.as_str()));
        let tree = Json::parse(text.as_bytes()).unwrap();
        for (name, provider, model) in providers() {
            let mut out = String::from("{");
            for (number, (case, body)) in tree.as_object().unwrap().iter().enumerate() {
                let framing = if case == "stream" { Framing::Sse } else { Framing::Whole };
                let request = request(client, &line(body), framing);
                out.push_str(if number > 0 { ",\n" } else { "\n" });
                out.push_str(&format!("\"{case}\": "));
                match request.upstream(&provider, model) {
                    Ok(upstream) => {
                        let body = Json::parse(&upstream.body).unwrap();
                        let texts = |texts: Vec<&str>| {
                            Json::Array(texts.into_iter().map(|text| text.to_owned().into()).collect())
                        };
                        let headers =
                            upstream.headers.iter().map(|(name, value)| (*name, Json::from(*value))).collect();
                        let members = [
                            ("path", Json::from(format!("{}{}", provider.base_path(), upstream.path))),
                            ("headers", headers),
                            ("dropped", texts(upstream.dropped.iter().map(String::as_str).collect())),
                            ("body", body.into_owned()),
                        ];
                        pretty(&members.into_iter().collect(), 0, &mut out);
                    }
                    Err(error) => {
                        let members = [
                            ("refused", Json::from(error.to_string())),
                            ("field", error.field().map_or(Json::Null, |field| Json::from(field.to_owned()))),
                        ];
                        pretty(&members.into_iter().collect(), 0, &mut out);
                    }
                }
            }
            out.push_str("\n}\n");
            check("requests", &format!("{}-to-{name}.json", client.as_str()), &out);
        }
    }
}

#[test]
fn answers_and_errors() {
    for provider in Dialect::PROVIDERS {
        for kind in ["answers", "errors"] {
            let text = input(kind, &format!("{}.json", provider.as_str()));
            let tree = Json::parse(text.as_bytes()).unwrap();
            for client in Dialect::CLIENTS {
                let mut out = String::from("{");
                let asked = asking(client, Framing::Whole);
                let mut exchange = asked.upstream(&Provider::direct(provider), "p").unwrap().exchange;
                exchange.stamp("req1", 1_700_000_001);
                for (number, (case, body)) in tree.as_object().unwrap().iter().enumerate() {
                    let status = case.parse().unwrap_or(200);
                    let body = body.as_str().map_or_else(|| line(body), str::to_owned);
                    let answer = exchange.answer(status, Bytes::from(body.clone()), None);
                    if kind == "answers" && client == provider && answer.status == 200 {
                        assert_eq!(answer.body, body, "the same API is not written anew");
                    }
                    out.push_str(if number > 0 { ",\n" } else { "\n" });
                    out.push_str(&format!("\"{case}\": "));
                    let members = [
                        ("status", Json::Number(answer.status.into())),
                        ("usage", Json::from(answer.usage.map_or(String::new(), |usage| format!("{usage:?}")))),
                        ("finish", Json::from(answer.finish.map_or("", |finish| finish.as_str()))),
                        ("body", Json::parse(&answer.body).unwrap().into_owned()),
                    ];
                    pretty(&members.into_iter().collect(), 0, &mut out);
                }
                out.push_str("\n}\n");
                check(kind, &format!("{}-to-{}.json", provider.as_str(), client.as_str()), &out);
            }
        }
    }
}

/// What a client gets, and what the stream told, of bytes in these pieces.
fn translate(provider: Dialect, client: Dialect, framing: Framing, pieces: &[&[u8]]) -> (Vec<u8>, String) {
    let mut exchange = asking(client, framing).upstream(&Provider::direct(provider), "p").unwrap().exchange;
    exchange.stamp("req1", 1_700_000_001);
    let mut stream = exchange.stream(None, false);
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&stream.push(Bytes::copy_from_slice(piece)));
    }
    out.extend_from_slice(&stream.finish());
    assert!(stream.is_ended());
    let told = format!(
        "# usage {:?}, finish {:?}, fault {:?}\n",
        stream.usage(),
        stream.finish_reason(),
        stream.fault().map(|fault| (fault.kind, &fault.message))
    );
    (out, told)
}

#[test]
fn streams_and_every_cut_of_them() {
    for provider in Dialect::PROVIDERS {
        let text = input("streams", &format!("{}.txt", provider.as_str()));
        for client in Dialect::CLIENTS {
            let mut out = String::new();
            for (case, text) in cases(&text) {
                let bytes = stream_bytes(provider, &text);
                let whole = translate(provider, client, Framing::Sse, &[&bytes]);
                for cut in 1..bytes.len() {
                    let (one, two) = bytes.split_at(cut);
                    let made = translate(provider, client, Framing::Sse, &[one, two]);
                    assert_eq!(made, whole, "{provider} to {client}, {case}, cut at {cut}");
                }
                let single: Vec<&[u8]> = bytes.chunks(1).collect();
                assert_eq!(translate(provider, client, Framing::Sse, &single), whole);
                out.push_str(&format!("=== {case}\n{}{}", whole.1, String::from_utf8(whole.0.clone()).unwrap()));
                if client == Dialect::Gemini {
                    array_is_the_same(provider, &bytes, &whole.0);
                }
            }
            check("streams", &format!("{}-to-{}.txt", provider.as_str(), client.as_str()), &out);
        }
    }
}

/// Gemini's other framing has the same values.
fn array_is_the_same(provider: Dialect, bytes: &[u8], sse: &[u8]) {
    let events: Vec<&str> =
        std::str::from_utf8(sse).unwrap().lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let (array, _) = translate(provider, Dialect::Gemini, Framing::JsonArray, &[bytes]);
    let array: Vec<serde_json::Value> =
        serde_json::from_slice(&array).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&array)));
    let events: Vec<serde_json::Value> = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    assert_eq!(array, events);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    let (cut, _) = translate(provider, Dialect::Gemini, Framing::JsonArray, &single);
    assert_eq!(serde_json::from_slice::<Vec<serde_json::Value>>(&cut).unwrap(), events);
}
