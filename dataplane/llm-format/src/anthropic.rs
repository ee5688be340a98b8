//! Anthropic's Messages, as Anthropic, Vertex AI and Bedrock serve them.

mod answer;
mod read;
mod stream;
pub(crate) mod thinking;
mod write;

pub(crate) use answer::{read_answer, write_answer, write_input};
pub(crate) use read::read;
pub(crate) use stream::{Decoder, Encoder};
pub(crate) use write::write;
