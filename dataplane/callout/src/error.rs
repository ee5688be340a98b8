//! Why a service could not be asked.

use std::time::Duration;

/// Why a service could not be asked; the message is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The way to it, or the service.
    #[error(transparent)]
    Upstream(#[from] agentgateway_upstream::Error),
    /// No answer in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The service failed.
    #[error("the service answered with gRPC status {code}: {message}")]
    Status {
        /// As gRPC numbers them.
        code: i32,
        /// What the service says.
        message: String,
        /// Before it should be asked again, where it says so (`google.rpc.RetryInfo`).
        pause: Option<Duration>,
    },
    /// The answer is none.
    #[error("the service's answer cannot be used: {0}")]
    Answer(String),
}
