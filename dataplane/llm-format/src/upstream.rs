//! What is sent to a provider.

mod direct;
mod path;

use bytes::Bytes;

use crate::json::Writer;
use crate::neutral::{At, Prompt};
use crate::{
    Dialect, Error, Exchange, Framing, Host, Operation, Provider, Quirks, Request, anthropic, bedrock, chat, count,
    embeddings, fields, gemini, responses, rules,
};

/// A request for a provider.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Path and query, below the base path of the provider (see [`Provider::base_path`]).
    pub path: String,
    /// The body. Its content type is `application/json`.
    pub body: Bytes,
    /// Headers that this API wants besides; keys are not among them.
    pub headers: Vec<(&'static str, &'static str)>,
    /// What the provider cannot be told and is left out by rule (see docs/llm/translation.md): for logs.
    pub dropped: Vec<String>,
    /// What understands the answer.
    pub exchange: Exchange,
}

/// What writers of requests need to know of the provider.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) dialect: Dialect,
    pub(crate) host: Host,
    pub(crate) quirks: Quirks,
    pub(crate) model: &'a str,
    pub(crate) stream: bool,
    /// The prompt is only to be counted.
    pub(crate) counts: bool,
}

impl Target<'_> {
    /// A part that stands where the API does not take it.
    pub(crate) fn misplaced(&self, at: At) -> Error {
        Error::Unsupported {
            field: at.to_string().into(),
            reason: "the API does not take such a part there",
            target: self.dialect,
        }
    }
}

impl Request {
    /// The request as a provider wants it, for the model that it knows by the name `model`.
    ///
    /// # Errors
    /// The body cannot be read, or says something that the provider's API has no words for: [`Error::Unsupported`] names the
    /// field.
    pub fn upstream(&self, provider: &Provider, model: &str) -> Result<Upstream, Error> {
        let framing = path::framing(provider, self.framing());
        let mut exchange = Exchange::new(self, provider, framing);
        let path = path::of(self.operation(), provider, model, framing)?;
        let mut headers = Vec::new();
        if framing != Framing::Whole {
            headers.push(("accept", framing.content_type()));
        }
        if provider.dialect == Dialect::AnthropicMessages && provider.host == Host::Direct {
            headers.push(("anthropic-version", path::ANTHROPIC_VERSION));
        }
        let same = provider.dialect == self.dialect();
        let (body, dropped) = match self.operation() {
            Operation::Generate if same => (direct::body(self, provider, model)?, Vec::new()),
            Operation::Generate => translate(self, provider, model)?,
            Operation::CountTokens => count::request(self, provider, model)?,
            Operation::Embeddings => {
                let (body, base64) = embeddings::request(self, provider, model)?;
                exchange.base64 = base64;
                (body, Vec::new())
            }
            operation @ Operation::Models => {
                return Err(Error::NoOperation {
                    operation: word(operation),
                    reason: "lists are not sent to providers",
                });
            }
        };
        Ok(Upstream { path, body, headers, dropped, exchange })
    }
}

pub(crate) fn direct_body(request: &Request, provider: &Provider, model: &str) -> Result<Bytes, Error> {
    direct::body(request, provider, model)
}

fn translate(request: &Request, provider: &Provider, model: &str) -> Result<(Bytes, Vec<String>), Error> {
    let tree = request.tree()?;
    let mut dropped = fields::check(request.dialect(), provider.dialect, &tree)?;
    let mut prompt = match request.dialect() {
        Dialect::OpenAiChat => chat::read(&tree)?,
        Dialect::OpenAiResponses => responses::read(&tree)?,
        Dialect::AnthropicMessages => anthropic::read(&tree)?,
        Dialect::Gemini => gemini::read(&tree)?,
        Dialect::BedrockConverse => return Err(Error::invalid("body", "clients do not speak this API")),
    };
    let mut left_out = rules::apply(&mut prompt, provider.dialect)?;
    if provider.dialect == Dialect::AnthropicMessages || model.contains("claude") {
        left_out.extend(anthropic::thinking::limit_sampling(&mut prompt, model));
    }
    dropped.extend(left_out.into_iter().map(str::to_owned));
    Ok((write(&prompt, request, provider, model)?, dropped))
}

fn write(prompt: &Prompt<'_>, request: &Request, provider: &Provider, model: &str) -> Result<Bytes, Error> {
    let target = Target {
        dialect: provider.dialect,
        host: provider.host,
        quirks: provider.quirks,
        model,
        stream: request.streams(),
        counts: false,
    };
    let mut out = Vec::with_capacity(request.body().len().saturating_add(256));
    let w = &mut Writer::new(&mut out);
    match provider.dialect {
        Dialect::OpenAiChat => chat::write(prompt, &target, w)?,
        Dialect::OpenAiResponses => responses::write(prompt, &target, w)?,
        Dialect::AnthropicMessages => anthropic::write(prompt, &target, w)?,
        Dialect::Gemini => gemini::write(prompt, &target, w)?,
        Dialect::BedrockConverse => bedrock::write(prompt, &target, w)?,
    }
    Ok(out.into())
}

pub(crate) fn word(operation: Operation) -> &'static str {
    match operation {
        Operation::Generate => "this request",
        Operation::CountTokens => "counting tokens",
        Operation::Embeddings => "embeddings",
        Operation::Models => "a list of models",
    }
}
