//! Certificates and TLS settings of the resource model, compiled for rustls.
//!
//! [`Server`] is what a listener shows and asks for, [`Client`] is how a backend is reached, [`hello`] finds out which
//! listener a connection is for before anything is decided. Nothing here does input or output.
//!
//! The translator uses this crate too, so that a certificate that the proxy could not use becomes a condition before any
//! proxy sees it.

mod certificate;
mod client;
mod client_validation;
mod error;
pub mod hello;
mod identity;
mod names;
mod server;
mod server_certificates;
mod system_roots;
#[cfg(test)]
mod testing;

use std::sync::{Arc, LazyLock};

pub use certificate::{authorities, certified_key};
pub use client::{Client, Offer};
pub use error::Error;
pub use identity::Identity;
pub use server::{HTTP_ALPN, Server};

use rustls::crypto::{CryptoProvider, ring};

/// The one implementation of cryptography, for everything.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(ring::default_provider()));
    Arc::clone(&PROVIDER)
}
