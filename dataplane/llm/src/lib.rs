//! LLM providers behind a route: one API in front of all of them.
//!
//! A request's path tells which API the client speaks ([`agentgateway_llm_format::Call`]). Its body is read, a provider chosen,
//! and the request written as that provider wants it; while nothing of an answer has been sent, another provider may be
//! tried. Paths that are no operation of a known API pass through to the first provider.

mod aliases;
mod backend;
mod body;
mod choose;
mod head;
mod key;
pub mod limits;
mod offload;
mod pass;
mod provider;
mod record;
mod reply;
mod request;
mod rest;
mod send;
mod stream;
mod tokens;

pub use backend::LlmFactory;
