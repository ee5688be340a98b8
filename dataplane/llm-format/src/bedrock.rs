//! Amazon Bedrock's Converse and ConverseStream. Clients do not speak it.

mod answer;
mod eventstream;
mod stream;
mod write;

pub(crate) use answer::read_answer;
pub(crate) use eventstream::{Frames, Message};
pub(crate) use stream::{Decoder, exception};
pub(crate) use write::{write, write_conversation};
