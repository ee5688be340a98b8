//! One request's answer: what the provider sends, and what the client is to see.

use bytes::Bytes;

use crate::fault::from_error;
use crate::json::{Json, Writer};
use crate::neutral::{Emit, Whole};
use crate::sse::Broken;
use crate::stage::Stages;
use crate::stream::StreamTranslator;
use crate::usage::{Finish, Usage};
use crate::{
    Dialect, Fault, FaultKind, Framing, Operation, Provider, Request, TextFilter, anthropic, bedrock, chat, count,
    embeddings, gemini, responses,
};

/// Knows what was asked and of whom, and so what the answer means. Cheap to keep; needs nothing of the request any more.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub(crate) client: Dialect,
    pub(crate) operation: Operation,
    pub(crate) provider: Provider,
    /// How the provider sends the answer.
    pub(crate) framing: Framing,
    pub(crate) meta: Meta,
    /// How the client of an embedding wants its numbers.
    pub(crate) base64: bool,
}

/// What an answer says that the provider's does not.
#[derive(Debug, Clone)]
pub(crate) struct Meta {
    /// The model as the client named it.
    pub(crate) model: String,
    /// Stands for the id of an answer without one.
    pub(crate) stamp: String,
    /// Seconds since 1970, where the provider does not say when.
    pub(crate) now: u64,
    /// How the client wants the answer.
    pub(crate) framing: Framing,
    pub(crate) wants_usage: bool,
}

impl Meta {
    /// An id with the prefix that the API gives its own.
    pub(crate) fn id(&self, prefix: &str, id: Option<&str>) -> String {
        let id = id.filter(|id| !id.is_empty()).unwrap_or(&self.stamp);
        if id.starts_with(prefix) { id.to_owned() } else { format!("{prefix}{id}") }
    }
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
            provider: *provider,
            framing,
            meta: Meta {
                model: request.model().to_owned(),
                stamp: "0".to_owned(),
                now: 0,
                framing: request.framing(),
                wants_usage: request.wants_usage(),
            },
            base64: false,
        }
    }

    /// Says what is used where the provider's answer has no id or time of its own, or its API has none: an id (letters and
    /// digits, one for each request) and seconds since 1970.
    pub fn stamp(&mut self, id: impl Into<String>, unix_seconds: u64) {
        self.meta.stamp = id.into();
        self.meta.now = unix_seconds;
    }

    /// What the client speaks.
    pub fn client(&self) -> Dialect {
        self.client
    }

    /// What was asked for.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// The model as the client named it.
    pub fn model(&self) -> &str {
        &self.meta.model
    }

    /// The content type of what the client gets when the provider succeeds.
    pub fn content_type(&self) -> &'static str {
        self.meta.framing.content_type()
    }

    /// How the provider sends a successful answer: by [`Framing::Whole`] use [`Exchange::answer`], else
    /// [`Exchange::stream`]. Errors (a status of 400 and more) are always whole.
    pub fn upstream_framing(&self) -> Framing {
        self.framing
    }

    fn is_direct(&self) -> bool {
        self.client == self.provider.dialect
    }

    /// A whole answer of the provider as the client's. With a filter (or another API on the provider's side) it is written
    /// anew from what was read of it; otherwise its bytes go on as they are.
    ///
    /// A body that is not what the provider's API sends (HTML, a cut body) becomes a `502`, or an error of the status that the
    /// provider gave. What a provider says of the gateway's own credentials (401, 403) is in [`Answer::fault`] for the log; the
    /// caller decides whether clients see it.
    pub fn answer(&self, status: u16, body: Bytes, filter: Option<&mut (dyn TextFilter + '_)>) -> Answer {
        if status >= 400 {
            return self.error(status, &body);
        }
        let Ok(tree) = Json::parse(&body) else {
            return self.fault(Fault::new(FaultKind::BadGateway, "the provider's answer is not JSON"));
        };
        match self.operation {
            Operation::CountTokens => return count::answer(self, status, &tree, &body),
            Operation::Embeddings => return embeddings::answer(self, status, &tree, &body),
            Operation::Models => return Answer { status, body, usage: None, finish: None, model: None, fault: None },
            Operation::Generate => {}
        }
        let direct = self.is_direct() && filter.is_none();
        let mut whole = Whole::default();
        let mut stages = Stages::new(self.client, filter);
        let read = self.read_answer(&tree, &mut |event| stages.pass(event, &mut |event| whole.add(&event)));
        match (read, whole.fault.take()) {
            // Where nothing is translated an unknown form is the client's to judge.
            (Err(_), _) if direct => {}
            (Err(broken), _) => return self.fault(broken.into()),
            (Ok(()), Some(fault)) => return self.fault(fault),
            (Ok(()), None) => {}
        }
        let body = if direct { body.clone() } else { self.write_answer(&whole) };
        let finish = whole.choices.first().and_then(|choice| choice.finish);
        Answer { status, body, usage: whole.usage, finish, model: whole.model, fault: None }
    }

    fn read_answer(&self, tree: &Json<'_>, emit: Emit<'_>) -> Result<(), Broken> {
        match self.provider.dialect {
            Dialect::OpenAiChat => chat::read_answer(tree, emit),
            Dialect::OpenAiResponses => responses::read_answer(tree, emit),
            Dialect::AnthropicMessages => anthropic::read_answer(tree, emit),
            Dialect::Gemini => gemini::read_answer(tree, &self.meta, emit),
            Dialect::BedrockConverse => bedrock::read_answer(tree, emit),
        }
    }

    fn write_answer(&self, whole: &Whole) -> Bytes {
        let mut out = Vec::with_capacity(1024);
        let w = &mut Writer::new(&mut out);
        match self.client {
            Dialect::OpenAiChat | Dialect::BedrockConverse => chat::write_answer(whole, &self.meta, w),
            Dialect::OpenAiResponses => responses::write_answer(whole, &self.meta, w),
            Dialect::AnthropicMessages => anthropic::write_answer(whole, &self.meta, w),
            Dialect::Gemini => gemini::write_answer(whole, &self.meta, w),
        }
        out.into()
    }

    fn error(&self, status: u16, body: &Bytes) -> Answer {
        let kind = FaultKind::of_status(status);
        let (mut fault, known) = match Json::parse(body) {
            Ok(tree) => (from_error(&tree, kind), tree.as_object().is_some()),
            Err(_) => (Fault::new(kind, format!("the provider answered with status {status} and no reason")), false),
        };
        // The status says more than a type that serves for several.
        fault.kind = kind;
        let mut answer = self.fault(fault);
        answer.status = if status == 529 && !self.is_direct() { 503 } else { status };
        if self.is_direct() && known {
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
    /// written anew also between two sides of one API: what is not known of it does not pass the filter by.
    pub fn stream(&self, filter: Option<Box<dyn TextFilter>>, keep_text: bool) -> StreamTranslator {
        StreamTranslator::new(self.clone(), filter, keep_text)
    }
}
