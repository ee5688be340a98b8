//! Copies of requests for other backends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backend::HostBackend;

/// Sends copies of requests, with their bodies, to another backend, and ignores its responses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestMirror {
    /// Where the copies go.
    pub backend: HostBackend,

    /// Of 100 requests so many are mirrored; all by default. Not together with `fraction`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub percent: Option<u32>,

    /// The share of requests that are mirrored, where a percentage is too coarse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<Fraction>,
}

/// A part of a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fraction {
    /// The part.
    pub numerator: u32,

    /// The whole. 100 by default.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1))]
    pub denominator: u32,
}

fn hundred() -> u32 {
    100
}
