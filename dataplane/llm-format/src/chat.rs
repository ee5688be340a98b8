//! OpenAI's Chat Completions.

mod answer;
mod read;
mod stream;
mod write;

pub(crate) use answer::{read_answer, write_answer};
pub(crate) use read::{cache, read, schema, tier, url};
pub(crate) use stream::{Decoder, Encoder};
pub(crate) use write::{effort_word, source_url, tier_word, write};
