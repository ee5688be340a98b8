//! Another endpoint than those that were tried already, for retries.

use std::sync::Arc;

use super::{Cluster, Source, balance};
use crate::dns::Resolver;
use crate::endpoint::Endpoint;
use crate::error::{Error, Kind};
use crate::random::random_below;
use crate::upstream::{Picked, Upstream};

impl Upstream {
    /// As [`Upstream::pick`], but none of `tried` while there are others.
    ///
    /// # Errors
    /// As [`Upstream::pick`].
    pub async fn pick_other(
        &self,
        cluster: &Arc<Cluster>,
        hash: Option<u64>,
        tried: &[Arc<Endpoint>],
    ) -> Result<Picked, Error> {
        if let Source::Balanced(balancer) = &cluster.source {
            return balancer.pick(hash, tried).await;
        }
        let endpoints = cluster.endpoints(self.resolver()).await?;
        another(&endpoints, tried).map(Picked::new).ok_or_else(|| {
            Error::new(Kind::NoEndpoints, format!("backend {} has no ready endpoint", cluster.authority()))
        })
    }
}

impl Cluster {
    /// All endpoints; of several host names those of one, drawn at random.
    async fn endpoints(self: &Arc<Self>, resolver: &Resolver) -> Result<Arc<[Arc<Endpoint>]>, Error> {
        match &self.source {
            Source::Balanced(_) => Ok(Arc::default()),
            Source::Fixed(endpoints) => Ok(Arc::clone(endpoints)),
            Source::Names { hosts, .. } => {
                let at = random_below(hosts.len().max(1));
                let Some(name) = hosts.get(at) else {
                    return Err(Error::new(Kind::NoEndpoints, format!("backend {} names no host", self.authority)));
                };
                Box::pin(self.addresses(at, name, resolver)).await
            }
        }
    }
}

fn another(endpoints: &[Arc<Endpoint>], tried: &[Arc<Endpoint>]) -> Option<Arc<Endpoint>> {
    let was_tried = |endpoint: &Arc<Endpoint>| tried.iter().any(|t| t.address() == endpoint.address());
    let others: Vec<Arc<Endpoint>> = endpoints.iter().filter(|e| !was_tried(e)).cloned().collect();
    balance(if others.is_empty() { endpoints } else { &others }).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{EndpointRegistry, Protocol};

    #[test]
    fn endpoints_that_were_tried_come_last() {
        let registry = EndpointRegistry::default();
        let all: Vec<_> = (1..=3)
            .map(|n| registry.get(format!("10.0.0.{n}:80").parse().expect("address"), &Protocol::Http1.into()))
            .collect();
        for _ in 0..50 {
            let picked = another(&all, &all[..2]).expect("one is left");
            assert_eq!(picked.address(), all[2].address());
            assert!(another(&all, &all).is_some(), "when all were tried, any may serve");
        }
        assert!(another(&[], &all).is_none());
    }
}
