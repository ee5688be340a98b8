//! Who a peer is: from the bearer token that it shows to the gateway whose resources it may have.

use tonic::metadata::MetadataMap;

/// What a valid token allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// The resources of this gateway ("namespace/name") alone.
    Gateway(String),
    /// Those of any gateway: the token file of a control plane without Kubernetes.
    Any,
}

impl Allowed {
    /// Whether it covers `gateway`.
    pub fn covers(&self, gateway: &str) -> bool {
        match self {
            Allowed::Gateway(own) => own == gateway,
            Allowed::Any => true,
        }
    }
}

/// Why a token is not accepted. The messages reach the peer, and never hold the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The token is wrong, expired, of another audience, or of a workload that is no proxy of ours.
    #[error("the token is not accepted: {0}")]
    Invalid(String),
    /// It could not be checked now; the peer should try again.
    #[error("the token cannot be checked at present: {0}")]
    Unavailable(String),
}

/// Checks bearer tokens.
#[tonic::async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// The gateway that the bearer of `token` may have.
    async fn authenticate(&self, token: &str) -> Result<Allowed, Refusal>;
}

/// The token of `authorization: Bearer <token>`.
pub(crate) fn bearer(metadata: &MetadataMap) -> Option<&str> {
    let value = metadata.get("authorization")?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
