//! Why a policy could not be applied.

/// A policy that does not compile. What protects is replaced by a deny; what does not is left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {policy}: {reason}")]
pub struct PolicyError {
    /// The user's object, "TrafficPolicy ns/name".
    pub origin: String,
    /// The kind of policy, "jwt".
    pub policy: &'static str,
    /// What is wrong with it.
    pub reason: String,
    /// Whether requests are refused because of it.
    pub denies: bool,
}
