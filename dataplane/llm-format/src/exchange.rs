//! One request's answer: what the provider sends, and what the client is to see.

use bytes::Bytes;

use crate::json::Json;
use crate::stream::StreamTranslator;
use crate::usage::{Finish, Usage};
use crate::{Dialect, Fault, FaultKind, Framing, Operation, Provider, Request, TextFilter};

/// Knows what was asked and of whom, and so what the answer means. Cheap to keep; needs nothing of the request any more.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub(crate) client: Dialect,
    pub(crate) operation: Operation,
    /// How the client wants the answer.
    pub(crate) client_framing: Framing,
    pub(crate) provider: Provider,
    /// How the provider sends it.
    pub(crate) framing: Framing,
    /// The model as the client named it: what answers of another API say.
    pub(crate) model: String,
    pub(crate) wants_usage: bool,
}

/// A whole answer for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The body; its content type is `application/json`.
    pub body: Bytes,
    /// What it cost, where the provider says so.
    pub usage: Option<Usage>,
    /// Why it ended (the first of several choices).
    pub finish: Option<Finish>,
    /// The model that the provider says answered.
    pub model: Option<String>,
    /// The error, when it is one.
    pub fault: Option<Fault>,
}

impl Exchange {
    pub(crate) fn new(request: &Request, provider: &Provider, framing: Framing) -> Exchange {
        Exchange {
            client: request.dialect(),
            operation: request.operation(),
            client_framing: request.framing(),
            provider: *provider,
            framing,
            model: request.model().to_owned(),
            wants_usage: request.wants_usage(),
        }
    }

    /// What was asked for.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// The model as the client named it.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The content type of what the client gets when the provider succeeds.
    pub fn content_type(&self) -> &'static str {
        self.client_framing.content_type()
    }

    /// How the provider sends a successful answer: by [`Framing::Whole`] use [`Exchange::answer`], else
    /// [`Exchange::stream`]. Errors (a status of 400 and more) are always whole.
    pub fn upstream_framing(&self) -> Framing {
        self.framing
    }

    /// A whole answer of the provider as the client's.
    ///
    /// A body that is not what the provider's API sends (HTML, a cut body) becomes a `502`, or an error of the status that the
    /// provider gave.
    pub fn answer(&self, status: u16, body: Bytes) -> Answer {
        if status >= 400 {
            return self.error(status, &body);
        }
        match Json::parse(&body) {
            Ok(tree) if tree.as_object().is_some() => {
                let usage = match self.provider.dialect {
                    Dialect::Gemini => tree.get("usageMetadata"),
                    _ => tree.get("usage"),
                };
                let usage = Usage::read(self.provider.dialect, usage);
                let model = tree.get("model").as_str().or(tree.get("modelVersion").as_str()).map(str::to_owned);
                Answer { status, usage, finish: None, model, fault: None, body: body.clone() }
            }
            _ => self.fault(Fault::new(FaultKind::BadGateway, "the provider's answer is not JSON")),
        }
    }

    fn error(&self, status: u16, body: &Bytes) -> Answer {
        let kind = FaultKind::of_status(status);
        let mut answer = self.fault(Fault::new(kind, "the provider answered with an error"));
        answer.status = status;
        if self.client == self.provider.dialect && Json::parse(body).is_ok() {
            answer.body = body.clone();
        }
        answer
    }

    /// An error of the gateway itself as the client's API shows errors.
    pub fn fault(&self, fault: Fault) -> Answer {
        Answer {
            status: fault.kind.status(),
            body: fault.body(self.client),
            usage: None,
            finish: None,
            model: None,
            fault: Some(fault),
        }
    }

    /// What translates the provider's stream. With a filter, or where `keep_text`, every event is read, and the answer is
    /// written anew also between two sides of one API.
    pub fn stream(&self, filter: Option<Box<dyn TextFilter>>, keep_text: bool) -> StreamTranslator {
        StreamTranslator::new(self.clone(), filter, keep_text)
    }
}
