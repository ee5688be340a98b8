//! What is recorded of one request, after OpenTelemetry's conventions for generative AI.

use std::time::Instant;

use agentgateway_llm_format::{Dialect, Finish, Operation, Usage};
use agentgateway_telemetry::RequestTelemetry;

use crate::provider::Provider;

/// Longest name of a model that is recorded, in bytes.
const NAME: usize = 256;

/// Fields of one request.
#[derive(Debug)]
pub(crate) struct Record {
    telemetry: RequestTelemetry,
    pub(crate) start: Instant,
}

impl Record {
    pub(crate) fn new(telemetry: RequestTelemetry) -> Record {
        Record { telemetry, start: Instant::now() }
    }

    pub(crate) fn asked(&self, client: Dialect, operation: Operation, model: &str, streams: bool) {
        if !self.telemetry.is_on() {
            return;
        }
        let operation = match operation {
            Operation::Generate if client == Dialect::Gemini => "generate_content",
            Operation::Generate => "chat",
            Operation::Embeddings => "embeddings",
            Operation::CountTokens => "count_tokens",
            Operation::Models => "models",
        };
        self.telemetry.set("gen_ai.operation.name", operation);
        self.telemetry.set("llm.api", client.as_str());
        if !model.is_empty() {
            self.telemetry.set("gen_ai.request.model", cut(model));
        }
        self.telemetry.set("llm.streaming", streams);
    }

    pub(crate) fn provider(&self, provider: &Provider) {
        if self.telemetry.is_on() {
            self.telemetry.set("gen_ai.provider.name", provider.system.to_string());
            self.telemetry.set("llm.provider", provider.name.to_string());
            self.telemetry.add("llm.tries", 1);
        }
    }

    pub(crate) fn error(&self, reason: &str) {
        if self.telemetry.is_on() {
            self.telemetry.set("error", reason.to_owned());
        }
    }

    /// The first byte of a stream's answer has come.
    pub(crate) fn begun(&self) {
        self.telemetry.set("llm.time_to_first_token_ms", milliseconds(self.start));
    }

    pub(crate) fn answered(&self, model: Option<&str>, usage: Option<Usage>, finish: Option<Finish>) {
        if !self.telemetry.is_on() {
            return;
        }
        if let Some(model) = model {
            self.telemetry.set("gen_ai.response.model", cut(model));
        }
        if let Some(usage) = usage {
            let tokens = |name, count: u64| self.telemetry.set(name, count);
            tokens("gen_ai.usage.input_tokens", usage.input);
            tokens("gen_ai.usage.output_tokens", usage.output);
            if usage.cache_read > 0 {
                tokens("gen_ai.usage.cache_read.input_tokens", usage.cache_read);
            }
            if usage.cache_write > 0 {
                tokens("gen_ai.usage.cache_creation.input_tokens", usage.cache_write);
            }
        }
        if let Some(finish) = finish {
            self.telemetry.set("gen_ai.response.finish_reasons", finish.as_str());
        }
    }
}

fn cut(name: &str) -> String {
    name.get(..name.floor_char_boundary(NAME)).unwrap_or_default().to_owned()
}

fn milliseconds(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX)
}
