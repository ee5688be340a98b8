//! Whole answers.

use crate::exchange::Meta;
use crate::fault::from_error;
use crate::json::{Json, Writer};
use crate::neutral::{Emit, Event, Maker, Output, Signature, Whole};
use crate::sse::Broken;
use crate::usage::{Finish, Usage};
use crate::{Dialect, FaultKind};

/// Reads a provider's answer.
pub(crate) fn read_answer(body: &Json<'_>, emit: Emit<'_>) -> Result<(), Broken> {
    let Json::Array(items) = body.get("output") else { return Err(Broken::Damaged) };
    let (id, model) = (body.get("id").as_str(), body.get("model").as_str());
    emit(Event::Start { id, model, created: body.get("created_at").as_u64() })?;
    if body.get("status").as_str() == Some("failed") {
        return emit(Event::Fault(from_error(body, FaultKind::BadGateway)));
    }
    let mut calls = 0;
    for item in items {
        match item.get("type").as_str() {
            Some("message") => {
                for part in item.get("content").items() {
                    read_part(part, emit)?;
                    emit(Event::Break { choice: 0 })?;
                }
            }
            Some("function_call") => {
                let name = item.get("name").as_str().ok_or(Broken::Damaged)?;
                let id = item.get("call_id").as_str().ok_or(Broken::Damaged)?;
                emit(Event::ToolCall { choice: 0, call: calls, id, name, signature: None })?;
                let json = item.get("arguments").as_str().unwrap_or_default();
                emit(Event::ToolInput { choice: 0, call: calls, json })?;
                calls = calls.saturating_add(1);
            }
            Some("reasoning") => {
                let pieces = item.get("summary").items().iter().chain(item.get("content").items());
                for (number, piece) in pieces.enumerate() {
                    if number > 0 {
                        emit(Event::Reasoning { choice: 0, text: "\n\n" })?;
                    }
                    emit(Event::Reasoning { choice: 0, text: piece.get("text").as_str().unwrap_or_default() })?;
                }
                read_encrypted(item, emit)?;
            }
            _ => {}
        }
    }
    finish(body, emit)
}

/// What only OpenAI can read of a reasoning item.
pub(super) fn read_encrypted(item: &Json<'_>, emit: Emit<'_>) -> Result<(), Broken> {
    match item.get("encrypted_content").as_str() {
        Some(data) => emit(Event::Redacted { choice: 0, data: Signature { maker: Maker::OpenAi, value: data.into() } }),
        None => Ok(()),
    }
}

fn read_part(part: &Json<'_>, emit: Emit<'_>) -> Result<(), Broken> {
    match (part.get("text").as_str(), part.get("refusal").as_str()) {
        (Some(text), _) if !text.is_empty() => emit(Event::Text { choice: 0, text }),
        (_, Some(text)) => emit(Event::Refusal { choice: 0, text }),
        _ => Ok(()),
    }
}

/// The end of a response, whole or streamed.
pub(super) fn finish(response: &Json<'_>, emit: Emit<'_>) -> Result<(), Broken> {
    let finish = match response.get("incomplete_details").get("reason").as_str() {
        Some(reason) => Finish::read(Dialect::OpenAiResponses, reason),
        None => Finish::Stop,
    };
    emit(Event::Finish { choice: 0, finish, sequence: None })?;
    if let Some(usage) = Usage::read(Dialect::OpenAiResponses, response.get("usage")) {
        emit(Event::Usage(usage))?;
    }
    emit(Event::End)
}

/// How far a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    Done,
}

/// Writes an answer for a client.
pub(crate) fn write_answer(whole: &Whole, meta: &Meta, w: &mut Writer<'_>) {
    write_response(whole, meta, Status::Done, w);
}

pub(super) fn write_response(whole: &Whole, meta: &Meta, status: Status, w: &mut Writer<'_>) {
    let choice = whole.choices.first();
    let incomplete = match choice.and_then(|choice| choice.finish) {
        _ if status == Status::InProgress => None,
        Some(Finish::Length) => Some("max_output_tokens"),
        Some(Finish::ContentFilter | Finish::Refusal) => Some("content_filter"),
        _ => None,
    };
    w.object(|w| {
        w.key("id").string(&meta.id("resp_", whole.id.as_deref()));
        w.key("object").string("response");
        w.key("created_at").u64(whole.created.unwrap_or(meta.now));
        w.key("status").string(match (status, incomplete, &whole.fault) {
            (_, _, Some(_)) => "failed",
            (Status::InProgress, ..) => "in_progress",
            (_, Some(_), _) => "incomplete",
            _ => "completed",
        });
        w.key("background").bool(false);
        match &whole.fault {
            Some(fault) => w.key("error").object(|w| {
                w.key("code").string("server_error");
                w.key("message").string(&fault.message);
            }),
            None => w.key("error").null(),
        }
        match incomplete {
            Some(reason) => w.key("incomplete_details").object(|w| w.key("reason").string(reason)),
            None => w.key("incomplete_details").null(),
        }
        w.key("instructions").null();
        w.key("metadata").object(|_| ());
        w.key("model").string(whole.model.as_deref().unwrap_or(&meta.model));
        w.key("output").array(|w| {
            let outputs = choice.map(|choice| choice.outputs.as_slice()).unwrap_or_default();
            for (number, output) in outputs.iter().enumerate().filter(|_| status == Status::Done) {
                write_item(output, number, whole, meta, w);
            }
        });
        w.key("parallel_tool_calls").bool(true);
        w.key("temperature").null();
        w.key("tool_choice").string("auto");
        w.key("tools").array(|_| ());
        w.key("top_p").null();
        match (status, whole.usage) {
            (Status::Done, usage) => write_usage(&usage.unwrap_or_default(), w.key("usage")),
            (Status::InProgress, _) => w.key("usage").null(),
        }
    });
}

pub(super) fn item_id(prefix: &str, number: usize, whole: &Whole, meta: &Meta) -> String {
    format!("{}_{number}", meta.id(prefix, whole.id.as_deref()))
}

pub(super) fn write_item(output: &Output, number: usize, whole: &Whole, meta: &Meta, w: &mut Writer<'_>) {
    let id = |prefix| item_id(prefix, number, whole, meta);
    w.object(|w| match output {
        Output::Text(_) | Output::Refusal(_) => {
            w.key("type").string("message");
            w.key("id").string(&id("msg_"));
            w.key("status").string("completed");
            w.key("role").string("assistant");
            w.key("content").array(|w| write_part(output, w));
        }
        Output::Reasoning { text, signature } => {
            w.key("type").string("reasoning");
            w.key("id").string(&id("rs_"));
            w.key("summary").array(|w| {
                if !text.is_empty() {
                    write_summary(text, w);
                }
            });
            if let Some(signature) = signature {
                w.key("encrypted_content").string(&signature.shown(Maker::OpenAi));
            }
        }
        Output::Redacted(data) => {
            w.key("type").string("reasoning");
            w.key("id").string(&id("rs_"));
            w.key("summary").array(|_| ());
            w.key("encrypted_content").string(&data.shown_redacted(Maker::OpenAi));
        }
        Output::ToolCall { id: call, name, json, .. } => {
            w.key("type").string("function_call");
            w.key("id").string(&id("fc_"));
            w.key("status").string("completed");
            w.key("call_id").string(call);
            w.key("name").string(name);
            w.key("arguments").string(if json.is_empty() { "{}" } else { json });
        }
    });
}

pub(super) fn write_part(output: &Output, w: &mut Writer<'_>) {
    w.object(|w| match output {
        Output::Refusal(text) => {
            w.key("type").string("refusal");
            w.key("refusal").string(text);
        }
        Output::Text(text) => {
            w.key("type").string("output_text");
            w.key("text").string(text);
            w.key("annotations").array(|_| ());
            w.key("logprobs").array(|_| ());
        }
        _ => {}
    });
}

pub(super) fn write_summary(text: &str, w: &mut Writer<'_>) {
    w.object(|w| {
        w.key("type").string("summary_text");
        w.key("text").string(text);
    });
}

fn write_usage(usage: &Usage, w: &mut Writer<'_>) {
    w.object(|w| {
        w.key("input_tokens").u64(usage.input);
        w.key("input_tokens_details").object(|w| {
            w.key("cached_tokens").u64(usage.cache_read);
            w.key("cache_write_tokens").u64(usage.cache_write);
        });
        w.key("output_tokens").u64(usage.output);
        w.key("output_tokens_details").object(|w| w.key("reasoning_tokens").u64(usage.reasoning));
        w.key("total_tokens").u64(usage.total());
    });
}
