//! What is sent to a provider.

mod direct;
mod path;

use bytes::Bytes;

use crate::{Error, Exchange, Framing, Operation, Provider, Request};

/// A request for a provider.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Path and query, below the base path of the provider (see [`Provider::base_path`]).
    pub path: String,
    /// The body. Its content type is `application/json`.
    pub body: Bytes,
    /// Headers that this API wants besides; keys are not among them.
    pub headers: Vec<(&'static str, &'static str)>,
    /// Fields that the provider cannot be told and that are left out by rule (see docs/llm/translation.md): for logs.
    pub dropped: Vec<&'static str>,
    /// What understands the answer.
    pub exchange: Exchange,
}

impl Request {
    /// The request as a provider wants it, for the model that it knows by the name `model`.
    ///
    /// # Errors
    /// The body cannot be read, or says something that the provider's API has no words for: [`Error::Unsupported`] names the
    /// field.
    pub fn upstream(&self, provider: &Provider, model: &str) -> Result<Upstream, Error> {
        let framing = path::framing(provider, self.framing());
        let exchange = Exchange::new(self, provider, framing);
        let path = path::of(self.operation(), provider, model, framing)?;
        let mut headers = Vec::new();
        if framing != Framing::Whole {
            headers.push(("accept", framing.content_type()));
        }
        if provider.dialect == crate::Dialect::AnthropicMessages && provider.host == crate::Host::Direct {
            headers.push(("anthropic-version", path::ANTHROPIC_VERSION));
        }
        let same = provider.dialect == self.dialect();
        let (body, dropped) = match self.operation() {
            Operation::Generate if same => (direct::body(self, provider, model)?, Vec::new()),
            operation => {
                return Err(Error::NoOperation { operation: word(operation), reason: "its API is another one" });
            }
        };
        Ok(Upstream { path, body, headers, dropped, exchange })
    }
}

fn word(operation: Operation) -> &'static str {
    match operation {
        Operation::Generate => "this request",
        Operation::CountTokens => "counting tokens",
        Operation::Embeddings => "embeddings",
        Operation::Models => "a list of models",
    }
}
