//! Fetches what policies need from elsewhere, on the background thread: the keys of issuers.
//!
//! One document at a time and one connection for each, over HTTP/1.1, with bounds on size and time. Addresses are checked as those
//! of backends are, after names are resolved: a URL must not lead to a cloud's metadata service or to the admin port.
//! Redirects are not followed, so that the URL of the configuration is the one that is trusted.

mod document;
mod error;
mod keys;

pub use error::Error;
pub use keys::run;

use agentgateway_upstream::{AddressRules, Resolver};

/// What fetching needs of the process.
#[derive(Clone, Debug)]
pub struct Network {
    /// Looks names up.
    pub resolver: Resolver,
    /// Which addresses may be reached.
    pub rules: std::sync::Arc<AddressRules>,
}

/// Largest document, in bytes.
const MAX_BYTES: usize = 256 << 10;

/// How long fetching one may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
