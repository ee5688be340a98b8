//! Formats of LLM APIs: what is asked, what is answered, and how the one API's words are said in another's.
//!
//! Pure: bytes in, bytes out; no I/O, no clock, no tasks. Whoever sends requests (the LLM backend) uses it so:
//!
//! 1. [`Call::recognise`] tells from method and path which API's operation this is.
//! 2. [`Request::parse`] reads the body: model, stream, limits are there at once, the rest stays unread.
//! 3. Policies look and change: [`Request::texts`], [`Request::replace_texts`], [`Request::edit`].
//! 4. [`Request::upstream`] gives, for one [`Provider`] and the model's name there, path, headers and body to send, and an
//!    [`Exchange`] that understands the answer. It may be called again for another provider (failover).
//! 5. [`Exchange::answer`] turns a whole answer (also an error) into the client's; [`Exchange::stream`] gives a
//!    [`StreamTranslator`], to which the bytes of a stream are pushed as they come.
//!
//! Where client and provider speak the same API the bytes go through as they are but for what was changed. Otherwise they
//! are read into neutral forms and written anew; what the other side cannot say is refused by [`Error::Unsupported`] or left
//! out by the [`rules`] and [`fields`], which are data.

mod anthropic;
mod bedrock;
mod chat;
mod count;
mod dialect;
mod embeddings;
mod error;
mod exchange;
mod fault;
pub mod fields;
mod gemini;
mod json;
pub mod limits;
mod models;
mod neutral;
mod recognise;
mod request;
mod responses;
pub mod rules;
mod sse;
mod stage;
mod stream;
mod upstream;
mod usage;

pub use count::token_count;
pub use dialect::{Dialect, Framing, Host, Provider, Quirks};
pub use error::Error;
pub use exchange::{Answer, Exchange};
pub use fault::{Fault, FaultKind};
pub use json::{Json, Object};
pub use models::{Model, model_info, model_list};
pub use recognise::{Call, Operation};
pub use request::{Document, Place, PromptSize, Request, Role, TextRef};
pub use stream::{StreamTranslator, TextFilter, TextKind, Verdict};
pub use upstream::Upstream;
pub use usage::{Finish, Usage};
