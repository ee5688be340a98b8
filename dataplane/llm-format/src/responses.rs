//! OpenAI's Responses.

mod answer;
mod read;
mod stream;
mod write;

pub(crate) use answer::{read_answer, write_answer};
pub(crate) use read::read;
pub(crate) use stream::{Decoder, Encoder};
pub(crate) use write::write;
