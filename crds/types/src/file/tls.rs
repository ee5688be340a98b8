//! TLS of the YAML file: certificates and keys are files of the proxy's machine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// TLS of a listener. Either `cert` and `key`, or `certificates`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerTls {
    /// File with the certificate and those between it and its authority, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub cert: Option<String>,

    /// File with the private key, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub key: Option<String>,

    /// Several certificates; a client is shown the one that has the name it asks for, else the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub certificates: Vec<CertificateFiles>,

    /// File with the authorities of clients, as PEM. Without it clients are not asked for certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub root: Option<String>,

    /// What happens to clients without a valid certificate; `strict` by default. Only together with `root`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtls_mode: Option<MtlsMode>,

    /// Lowest version of TLS; `1.2` by default.
    #[serde(default, rename = "minTLSVersion", skip_serializing_if = "Option::is_none")]
    pub min_tls_version: Option<TlsVersion>,

    /// Highest version of TLS; `1.3` by default.
    #[serde(default, rename = "maxTLSVersion", skip_serializing_if = "Option::is_none")]
    pub max_tls_version: Option<TlsVersion>,

    /// Application protocols that are offered, best first; `h2` and `http/1.1` on HTTPS listeners by default, none on others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 255)))]
    pub alpn: Vec<String>,
}

/// A certificate and its key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateFiles {
    /// File with the certificate and those between it and its authority, as PEM.
    #[schemars(length(min = 1, max = 4096))]
    pub cert: String,

    /// File with the private key, as PEM.
    #[schemars(length(min = 1, max = 4096))]
    pub key: String,
}

/// What happens to clients without a valid certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MtlsMode {
    /// They are refused.
    #[default]
    Strict,
    /// They are served; rules see whether there was a valid certificate.
    AllowInsecureFallback,
}

/// Version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}

/// Encrypts the connections to a backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendTls {
    /// Name that is sent to the backend, and that its certificate must have unless `subjectAltNames` are given; the backend's
    /// own host by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub hostname: Option<String>,

    /// File with the authorities that are trusted, as PEM; those of the machine by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub root: Option<String>,

    /// File with the certificate that is shown when the backend asks for one, as PEM. Together with `key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub cert: Option<String>,

    /// File with its private key, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub key: Option<String>,

    /// Names of which the backend's certificate must have one: host names, such as `example.com` and `*.example.com`, and URIs,
    /// such as `spiffe://example.com/ns/a/sa/b`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 2048)))]
    pub subject_alt_names: Vec<String>,
}
