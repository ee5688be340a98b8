//! Counting the tokens of a prompt: Anthropic's `count_tokens`, Google's `countTokens`, OpenAI's `input_tokens`, Bedrock's
//! `CountTokens`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::json::{Json, Writer, string};
use crate::upstream::{Target, direct_body};
use crate::{
    Answer, Dialect, Error, Exchange, Fault, FaultKind, Host, Provider, Request, anthropic, bedrock, fields, gemini,
    responses, rules,
};

pub(crate) fn request(request: &Request, provider: &Provider, model: &str) -> Result<(Bytes, Vec<String>), Error> {
    let tree = request.tree()?;
    if request.dialect() == provider.dialect {
        return Ok((direct(request, provider, model, tree)?, Vec::new()));
    }
    // Google's clients may send the whole request within the other.
    let inner = tree.get("generateContentRequest");
    let body = if inner.is_null() { &tree } else { inner };
    let mut dropped = fields::check(request.dialect(), provider.dialect, body)?;
    let mut prompt = match request.dialect() {
        Dialect::OpenAiResponses => responses::read(body)?,
        Dialect::AnthropicMessages => anthropic::read(body)?,
        Dialect::Gemini => gemini::read(body)?,
        Dialect::OpenAiChat | Dialect::BedrockConverse => {
            return Err(Error::NoOperation { operation: "counting tokens", reason: "the API has no such operation" });
        }
    };
    dropped.extend(rules::apply(&mut prompt, provider.dialect)?.into_iter().map(str::to_owned));
    let target = Target {
        dialect: provider.dialect,
        host: provider.host,
        quirks: provider.quirks,
        model,
        stream: false,
        counts: true,
    };
    let mut out = Vec::with_capacity(request.body().len().saturating_add(128));
    let w = &mut Writer::new(&mut out);
    let mut result = Ok(());
    match (provider.dialect, provider.host) {
        (Dialect::AnthropicMessages, Host::Bedrock) => {
            let mut body = Vec::new();
            let target = Target { counts: false, ..target };
            anthropic::write(&prompt, &target, &mut Writer::new(&mut body))?;
            invoke(&body, w);
        }
        (Dialect::AnthropicMessages, _) => anthropic::write(&prompt, &target, w)?,
        (Dialect::OpenAiResponses, _) => responses::write(&prompt, &target, w)?,
        // With instructions and tools only Google's own API counts, and only within a whole request.
        (Dialect::Gemini, Host::Vertex) => w.object(|w| result = gemini::write_contents(&prompt, &target, w)),
        (Dialect::Gemini, _) => w.object(|w| {
            w.key("generateContentRequest").object(|w| {
                w.key("model").string(&format!("models/{model}"));
                result = gemini::write_contents(&prompt, &target, w);
            });
        }),
        (Dialect::BedrockConverse, _) => w.object(|w| {
            w.key("input").object(|w| {
                w.key("converse").object(|w| result = bedrock::write_conversation(&prompt, &target, w));
            });
        }),
        (Dialect::OpenAiChat, _) => {
            return Err(Error::NoOperation { operation: "counting tokens", reason: "its API has no such operation" });
        }
    }
    result?;
    Ok((out.into(), dropped))
}

fn direct(request: &Request, provider: &Provider, model: &str, mut tree: Json<'_>) -> Result<Bytes, Error> {
    match (provider.dialect, provider.host) {
        // The model is in the body here, and no version.
        (Dialect::AnthropicMessages, Host::Vertex) => {
            if let Some(body) = tree.as_object_mut() {
                body.set("model", Json::from(model.to_owned()));
            }
            Ok(string(&tree).into())
        }
        (Dialect::AnthropicMessages, Host::Bedrock) => {
            if let Some(body) = tree.as_object_mut() {
                body.remove("model");
                body.set("anthropic_version", "bedrock-2023-05-31".into());
                body.set("max_tokens", Json::Number(1.into()));
            }
            let mut out = Vec::new();
            invoke(&string(&tree), &mut Writer::new(&mut out));
            Ok(out.into())
        }
        _ => direct_body(request, provider, model),
    }
}

/// A body of InvokeModel, whose tokens Bedrock counts.
fn invoke(body: &[u8], w: &mut Writer<'_>) {
    w.object(|w| {
        w.key("input").object(|w| {
            w.key("invokeModel").object(|w| w.key("body").string(&STANDARD.encode(body)));
        });
    });
}

pub(crate) fn answer(exchange: &Exchange, status: u16, tree: &Json<'_>, body: &Bytes) -> Answer {
    let name = match (exchange.provider.dialect, exchange.provider.host) {
        (Dialect::Gemini, _) => "totalTokens",
        (Dialect::BedrockConverse, _) | (_, Host::Bedrock) => "inputTokens",
        _ => "input_tokens",
    };
    let Some(count) = tree.get(name).as_u64() else {
        return exchange.fault(Fault::new(FaultKind::BadGateway, "the provider's answer has no count"));
    };
    let same = exchange.client == exchange.provider.dialect && exchange.provider.host != Host::Bedrock;
    let body = if same { body.clone() } else { token_count(exchange.client, count) };
    // Counting costs nothing: no usage.
    Answer { status, body, usage: None, finish: None, model: None, fault: None }
}

/// The answer to a client that asks for a prompt's tokens, where the gateway itself has counted them.
pub fn token_count(client: Dialect, tokens: u64) -> Bytes {
    let mut out = Vec::new();
    Writer::new(&mut out).object(|w| match client {
        Dialect::Gemini => w.key("totalTokens").u64(tokens),
        Dialect::OpenAiResponses => {
            w.key("object").string("response.input_tokens");
            w.key("input_tokens").u64(tokens);
        }
        _ => w.key("input_tokens").u64(tokens),
    });
    out.into()
}
