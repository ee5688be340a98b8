//! Why certificates or keys cannot be used. Says nothing of their content.

/// Why a certificate, a key or a bundle of authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text holds no PEM block of a certificate.
    #[error("there is no PEM certificate in it")]
    NoCertificate,
    /// The text holds no PEM block of a private key.
    #[error("there is no PEM private key in it")]
    NoKey,
    /// A PEM block does not decode.
    #[error("its PEM does not decode")]
    Pem,
    /// The key is of a kind that is not supported, the certificate is not X.509, or the two do not belong together.
    #[error("certificate and key cannot be used together: {0}")]
    Unusable(rustls::Error),
    /// A certificate of an authority is not X.509.
    #[error("a certificate of an authority cannot be used: {0}")]
    Authority(rustls::Error),
}
