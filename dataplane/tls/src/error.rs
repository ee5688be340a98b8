//! Why certificates, keys or settings cannot be used. Says nothing of the content of keys.

/// Why a certificate, a key, a bundle of authorities or TLS settings cannot be used.
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
    /// A certificate is not X.509.
    #[error("the certificate is not X.509: {0}")]
    Certificate(String),
    /// One of several certificates cannot be used.
    #[error("certificate {number}: {source}")]
    OfCertificate {
        /// Its place in the list, from 1.
        number: usize,
        /// Why.
        source: Box<Error>,
    },
    /// Clients are to be asked for certificates, and nothing says which are valid.
    #[error("client certificates: {0}")]
    ClientValidation(Box<Error>),
    /// The settings ask for certificates of clients or servers and trust nobody.
    #[error("no authority is trusted")]
    NoAuthority,
    /// The listener has no certificate at all.
    #[error("the listener has no certificate")]
    NoServerCertificate,
    /// The lowest version is above the highest, or one is not known to this release.
    #[error("the TLS versions allow no connection: the lowest is above the highest, or one is not known")]
    Versions,
    /// The backend's name is neither a host name nor an address.
    #[error("{0:?} is neither a host name nor an IP address")]
    ServerName(String),
    /// A name that is to be in the backend's certificate is of no known kind, or empty.
    #[error("a subject alternative name is empty or of a kind that this release does not know")]
    SubjectAltName,
    /// The settings say themselves that they cannot be applied.
    #[error("{0}")]
    Refused(String),
    /// rustls does not take the settings.
    #[error("the TLS settings cannot be used: {0}")]
    Settings(rustls::Error),
}
