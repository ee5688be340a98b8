//! Name lookups, on the background runtime.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use hickory_resolver::TokioResolver;

use crate::error::{Error, Kind};
use crate::limits::{MAX_ADDRESSES_PER_NAME, MIN_RESOLVE_TTL, RESOLVE_TIMEOUT};

/// Looks names up. Cheap to clone; lookups run on the background runtime, because the resolver's own tasks must not
/// depend on which worker asked first.
#[derive(Clone, Debug)]
pub struct Resolver {
    resolver: Option<Arc<TokioResolver>>,
    background: tokio::runtime::Handle,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) valid_until: Instant,
}

impl Resolver {
    /// With the system's configuration (`/etc/resolv.conf`, `/etc/hosts`). Without a usable one, only IP addresses
    /// and `localhost` work, and a warning says so.
    pub fn system(background: tokio::runtime::Handle) -> Self {
        let _inside = background.enter();
        let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build());
        let resolver = match resolver {
            Ok(resolver) => Some(Arc::new(resolver)),
            Err(error) => {
                tracing::warn!(%error, "no usable DNS configuration: backends can be named by address only");
                None
            }
        };
        Resolver { resolver, background: background.clone() }
    }

    pub(crate) fn background(&self) -> &tokio::runtime::Handle {
        &self.background
    }

    /// All addresses of a name.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Error> {
        self.lookup(name).await.map(|resolved| resolved.addresses)
    }

    /// All addresses of a name.
    pub(crate) fn lookup(&self, name: &str) -> impl Future<Output = Result<Resolved, Error>> + Send + 'static {
        let (name, resolver, background) = (name.to_owned(), self.resolver.clone(), self.background.clone());
        async move {
            if name.eq_ignore_ascii_case("localhost") {
                // Not every resolver configuration has it, and it must not depend on a server (RFC 6761 §6.3).
                let addresses = vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
                return Ok(Resolved { addresses, valid_until: Instant::now() + RESOLVE_TIMEOUT });
            }
            let failed = |why: String| Error::new(Kind::Resolve, format!("host {name} cannot be resolved: {why}"));
            let Some(resolver) = resolver else { return Err(failed("no DNS server is configured".into())) };
            let query = name.clone();
            let lookup =
                background.spawn(async move { tokio::time::timeout(RESOLVE_TIMEOUT, resolver.lookup_ip(query)).await });
            let answer = match lookup.await {
                Ok(Ok(Ok(answer))) => answer,
                Ok(Ok(Err(error))) => return Err(failed(error.to_string())),
                Ok(Err(_)) => return Err(failed(format!("no answer within {} s", RESOLVE_TIMEOUT.as_secs()))),
                Err(_) => return Err(failed("the gateway is shutting down".into())),
            };
            let valid_until = answer.as_lookup().valid_until().max(Instant::now() + MIN_RESOLVE_TTL);
            let addresses = answer.iter().take(MAX_ADDRESSES_PER_NAME).collect();
            Ok(Resolved { addresses, valid_until })
        }
    }
}
