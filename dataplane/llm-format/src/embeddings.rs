//! Embeddings: clients speak OpenAI's API.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::json::{Json, Writer};
use crate::neutral::{integer, text};
use crate::upstream::direct_body;
use crate::{Answer, Dialect, Error, Exchange, Fault, FaultKind, Host, Provider, Request, Usage};

/// The body for a provider, and whether the client wants base64.
pub(crate) fn request(request: &Request, provider: &Provider, model: &str) -> Result<(Bytes, bool), Error> {
    if matches!(provider.dialect, Dialect::OpenAiChat | Dialect::OpenAiResponses) {
        let provider = Provider { dialect: Dialect::OpenAiChat, ..*provider };
        return Ok((direct_body(request, &provider, model)?, false));
    }
    let tree = request.tree()?;
    let base64 = text(&tree, "encoding_format")? == Some("base64");
    let dimensions = integer(&tree, "dimensions")?;
    let inputs: Vec<&str> = match tree.get("input") {
        Json::String(text) => vec![text],
        Json::Array(items) if items.iter().all(|item| item.as_str().is_some()) => {
            items.iter().filter_map(Json::as_str).collect()
        }
        Json::Array(_) => {
            return Err(Error::Unsupported {
                field: "input".into(),
                reason: "token ids are those of another model's vocabulary: send text",
                target: provider.dialect,
            });
        }
        _ => return Err(Error::invalid("input", "must be a string or an array of strings")),
    };
    if inputs.is_empty() {
        return Err(Error::invalid("input", "must not be empty"));
    }
    let mut out = Vec::with_capacity(request.body().len().saturating_add(128));
    let w = &mut Writer::new(&mut out);
    match (provider.dialect, provider.host) {
        (Dialect::Gemini, Host::Vertex) => w.object(|w| {
            w.key("instances").array(|w| inputs.iter().for_each(|text| w.object(|w| w.key("content").string(text))));
            if let Some(dimensions) = dimensions {
                w.key("parameters").object(|w| w.key("outputDimensionality").u64(dimensions));
            }
        }),
        (Dialect::Gemini, _) => w.object(|w| {
            w.key("requests").array(|w| {
                for text in &inputs {
                    w.object(|w| {
                        w.key("model").string(&format!("models/{model}"));
                        w.key("content").object(|w| {
                            w.key("parts").array(|w| w.object(|w| w.key("text").string(text)));
                        });
                        if let Some(dimensions) = dimensions {
                            w.key("outputDimensionality").u64(dimensions);
                        }
                    });
                }
            });
        }),
        (Dialect::BedrockConverse, _) => {
            let [input] = inputs.as_slice() else {
                return Err(Error::Unsupported {
                    field: "input".into(),
                    reason: "the model embeds one text for each request",
                    target: provider.dialect,
                });
            };
            w.object(|w| {
                w.key("inputText").string(input);
                if let Some(dimensions) = dimensions {
                    w.key("dimensions").u64(dimensions);
                }
            });
        }
        _ => return Err(Error::NoOperation { operation: "embeddings", reason: "its API has none" }),
    }
    Ok((out.into(), base64))
}

pub(crate) fn answer(exchange: &Exchange, status: u16, tree: &Json<'_>, body: &Bytes) -> Answer {
    let mut answer = Answer { status, body: body.clone(), usage: None, finish: None, model: None, fault: None };
    let (vectors, tokens): (Vec<&Json<'_>>, u64) = match (exchange.provider.dialect, exchange.provider.host) {
        (Dialect::OpenAiChat | Dialect::OpenAiResponses, _) => {
            let input = tree.get("usage").get("prompt_tokens").as_u64();
            answer.usage = input.map(|input| Usage { input, ..Usage::default() });
            answer.model = tree.get("model").as_str().map(str::to_owned);
            return answer;
        }
        (Dialect::Gemini, Host::Vertex) => {
            let made = || tree.get("predictions").items().iter().map(|made| made.get("embeddings"));
            let tokens = made().filter_map(|made| made.get("statistics").get("token_count").as_u64()).sum();
            (made().map(|made| made.get("values")).collect(), tokens)
        }
        (Dialect::Gemini, _) => (tree.get("embeddings").items().iter().map(|made| made.get("values")).collect(), 0),
        _ => (vec![tree.get("embedding")], tree.get("inputTextTokenCount").as_u64().unwrap_or(0)),
    };
    if vectors.is_empty() || vectors.iter().any(|vector| vector.items().is_empty()) {
        return exchange.fault(Fault::new(FaultKind::BadGateway, "the provider's answer has no embeddings"));
    }
    let mut out = Vec::with_capacity(body.len().saturating_add(128));
    Writer::new(&mut out).object(|w| {
        w.key("object").string("list");
        w.key("data").array(|w| {
            for (number, vector) in vectors.iter().enumerate() {
                w.object(|w| {
                    w.key("object").string("embedding");
                    w.key("index").u64(number as u64);
                    write_vector(vector, exchange.base64, w.key("embedding"));
                });
            }
        });
        w.key("model").string(&exchange.meta.model);
        w.key("usage").object(|w| {
            w.key("prompt_tokens").u64(tokens);
            w.key("total_tokens").u64(tokens);
        });
    });
    answer.body = out.into();
    answer.usage = Some(Usage { input: tokens, ..Usage::default() }).filter(|_| tokens > 0);
    answer
}

/// Numbers, or base64 of their bytes in single precision, little endian, which OpenAI's own libraries ask for.
fn write_vector(vector: &Json<'_>, base64: bool, w: &mut Writer<'_>) {
    if !base64 {
        return w.json(vector);
    }
    let numbers = vector.items().iter().map(|number| number.as_f64().unwrap_or(0.0) as f32);
    let bytes: Vec<u8> = numbers.flat_map(f32::to_le_bytes).collect();
    w.string(&STANDARD.encode(bytes));
}
