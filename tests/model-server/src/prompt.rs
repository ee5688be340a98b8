//! What a request asks for: model, prompt as tokens, length of the answer.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use serde_json::Value;

/// A token stands for so many bytes of text.
const BYTES_PER_TOKEN: usize = 4;

#[derive(Debug)]
pub(crate) struct Prompt {
    pub(crate) model: String,
    /// Tokens of the prompt.
    pub(crate) tokens: usize,
    /// Chained hashes of its full blocks.
    pub(crate) hashes: Vec<u64>,
    pub(crate) max_tokens: usize,
    pub(crate) stream: bool,
    pub(crate) chat: bool,
    pub(crate) usage: bool,
}

impl Prompt {
    /// Reads a body of `/v1/chat/completions` or `/v1/completions`.
    pub(crate) fn read(
        body: &[u8],
        chat: bool,
        block_size: usize,
        default_max_tokens: usize,
    ) -> Result<Prompt, String> {
        let body: Value = serde_json::from_slice(body).map_err(|e| format!("the body is not JSON: {e}"))?;
        let model = body["model"].as_str().ok_or("model is missing")?.to_owned();
        let mut text = String::new();
        if chat {
            for message in body["messages"].as_array().ok_or("messages is missing")? {
                text.push_str("<|");
                text.push_str(message["role"].as_str().ok_or("a message has no role")?);
                text.push_str("|>");
                match &message["content"] {
                    Value::String(content) => text.push_str(content),
                    other => text.push_str(&other.to_string()),
                }
            }
        } else {
            match &body["prompt"] {
                Value::String(prompt) => text.push_str(prompt),
                Value::Null => return Err("prompt is missing".into()),
                other => text.push_str(&other.to_string()),
            }
        }
        let wanted = body["max_completion_tokens"].as_u64().or(body["max_tokens"].as_u64());
        Ok(Prompt {
            tokens: text.len().div_ceil(BYTES_PER_TOKEN),
            hashes: hashes(&model, text.as_bytes(), block_size),
            model,
            max_tokens: wanted.map_or(default_max_tokens, |n| usize::try_from(n).unwrap_or(usize::MAX)).max(1),
            stream: body["stream"].as_bool().unwrap_or(false),
            chat,
            usage: body["stream_options"]["include_usage"].as_bool().unwrap_or(false),
        })
    }
}

static HASH: LazyLock<RandomState> = LazyLock::new(RandomState::new);

fn hashes(model: &str, text: &[u8], block_size: usize) -> Vec<u64> {
    let mut before = HASH.hash_one(model);
    text.chunks_exact(block_size * BYTES_PER_TOKEN)
        .map(|block| {
            before = HASH.hash_one((before, block));
            before
        })
        .collect()
}
