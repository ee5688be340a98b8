//! Certificates and TLS settings of the resource model, compiled for rustls.
//!
//! The translator uses this crate too, so that a certificate that the proxy could not use becomes a condition before any
//! proxy sees it.

mod certificate;
mod error;

pub use certificate::{authorities, certified_key};
pub use error::Error;
