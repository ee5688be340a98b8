//! The body for a provider that speaks what the client speaks: as it came but for what must differ.

use std::ops::Range;

use bytes::Bytes;

use crate::json::{Json, Writer, string};
use crate::{Dialect, Error, Host, Provider, Request};

pub(super) fn body(request: &Request, provider: &Provider, model: &str) -> Result<Bytes, Error> {
    match (provider.dialect, provider.host) {
        (Dialect::AnthropicMessages, Host::Vertex | Host::Bedrock) => anthropic(request, provider.host),
        (Dialect::OpenAiChat, _) => chat(request, provider, model),
        _ => Ok(splice(request.body(), model_edit(request, model).into_iter().collect())),
    }
}

/// The model's name in the body, when it is another one there.
fn model_edit(request: &Request, model: &str) -> Option<(Range<usize>, Vec<u8>)> {
    let at = request.head().model_at.clone()?;
    if request.model() == model {
        return None;
    }
    let mut text = Vec::with_capacity(model.len().saturating_add(2));
    Writer::new(&mut text).string(model);
    Some((at, text))
}

fn chat(request: &Request, provider: &Provider, model: &str) -> Result<Bytes, Error> {
    let mut edits: Vec<_> = model_edit(request, model).into_iter().collect();
    let head = request.head();
    if request.streams() && !head.wants_usage && provider.quirks.stream_options {
        match &head.stream_options_at {
            Some(at) => {
                let mut options = Json::parse(request.body().get(at.clone()).unwrap_or_default())?;
                if let Some(options) = options.as_object_mut() {
                    options.set("include_usage", Json::Bool(true));
                }
                edits.push((at.clone(), string(&options)));
            }
            None => {
                let start = request.body().iter().position(|byte| *byte == b'{').map_or(0, |at| at.saturating_add(1));
                // There is a member after it: the model.
                edits.push((start..start, br#""stream_options":{"include_usage":true},"#.to_vec()));
            }
        }
    }
    Ok(splice(request.body(), edits))
}

/// Anthropic's format where others serve it: the version is in the body, the model in the path only.
fn anthropic(request: &Request, host: Host) -> Result<Bytes, Error> {
    let mut tree = request.tree()?;
    if let Some(body) = tree.as_object_mut() {
        body.remove("model");
        let version = if host == Host::Vertex { "vertex-2023-10-16" } else { "bedrock-2023-05-31" };
        body.set("anthropic_version", version.into());
        if host == Host::Bedrock {
            body.remove("stream");
        }
    }
    Ok(string(&tree).into())
}

/// The text with parts of it replaced; itself, not a copy, when there is nothing to replace.
fn splice(text: &Bytes, mut edits: Vec<(Range<usize>, Vec<u8>)>) -> Bytes {
    if edits.is_empty() {
        return text.clone();
    }
    edits.sort_by_key(|(at, _)| at.start);
    let grown: usize = edits.iter().map(|(_, with)| with.len()).sum();
    let mut out = Vec::with_capacity(text.len().saturating_add(grown));
    let mut done = 0;
    for (at, with) in &edits {
        out.extend_from_slice(text.get(done..at.start).unwrap_or_default());
        out.extend_from_slice(with);
        done = at.end;
    }
    out.extend_from_slice(text.get(done..).unwrap_or_default());
    out.into()
}
