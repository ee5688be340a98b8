//! Why a document could not be fetched.

/// Why a document could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL cannot be used.
    #[error("the URL cannot be used: {0}")]
    Url(String),
    /// TLS cannot be set up as it is configured.
    #[error(transparent)]
    Tls(#[from] agentgateway_tls::Error),
    /// The host cannot be resolved, or its address is not allowed.
    #[error(transparent)]
    Address(#[from] agentgateway_upstream::Error),
    /// No connection came about, or it broke.
    #[error("{0}")]
    Connection(String),
    /// The answer is not 200.
    #[error("the answer was {0}; redirects are not followed")]
    Status(http::StatusCode),
    /// The document is too large.
    #[error("the document has more than {0} bytes")]
    TooLarge(usize),
    /// It took too long.
    #[error("no answer within {0} s")]
    TimedOut(u64),
}
