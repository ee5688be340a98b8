//! Why a policy could not be applied.

/// A policy that does not compile; requests that it covers are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_object}: {policy}: {reason}")]
pub struct PolicyError {
    /// The user's object, "TrafficPolicy ns/name".
    pub source_object: String,
    /// Under which its state would be kept: [`Attached::key`](crate::Attached).
    pub key: String,
    /// The kind of policy, "jwt".
    pub policy: &'static str,
    /// What is wrong with it.
    pub reason: String,
    /// Whether it protects: then no earlier version of it may be used in its place.
    pub protects: bool,
}
