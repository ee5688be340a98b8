//! Google's generateContent, as the Gemini API and Vertex AI serve it.

mod answer;
mod read;
pub(crate) mod schema;
mod stream;
mod write;

pub(crate) use answer::{read_answer, write_answer};
pub(crate) use read::read;
pub(crate) use stream::{Decoder, Encoder};
pub(crate) use write::{write, write_contents};
