//! HTTPRoutes and GRPCRoutes that claim one host name of one listener: the older one gets it (Gateway API, "GRPCRoute
//! hostnames").

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;

use crate::hostname::Hosts;
use crate::object::{ObjectKey, ObjectKind};

/// The age of a route, unknown is youngest, and the host names that it claims on a listener.
pub(crate) type Claim = (Option<Timestamp>, Vec<String>);

/// What routes claim on one listener.
pub(crate) type Claims = BTreeMap<ObjectKey, Claim>;

/// The routes that lose. One that loses is in no other's way.
pub(crate) fn losers(claims: &Claims) -> BTreeSet<ObjectKey> {
    let mut lost = BTreeSet::new();
    // Routes are in the order of their kinds, so nearly every listener is done here.
    let kind = |end: Option<(&ObjectKey, &Claim)>| end.map(|(route, _)| route.kind);
    if kind(claims.first_key_value()) == kind(claims.last_key_value()) {
        return lost;
    }
    let mut order: Vec<_> = claims.iter().collect();
    order.sort_by_cached_key(|(route, (created, _))| (created.is_none(), *created, route.name.to_string(), route.kind));
    let (mut http, mut grpc) = (Hosts::default(), Hosts::default());
    for (route, (_, hostnames)) in order {
        let (own, other) =
            if route.kind == ObjectKind::HttpRoute { (&mut http, &mut grpc) } else { (&mut grpc, &mut http) };
        if hostnames.iter().any(|host| other.intersects(host)) {
            lost.insert(route.clone());
        } else {
            hostnames.iter().for_each(|host| own.add(host));
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;

    fn claim(kind: ObjectKind, name: &str, second: i64, host: &str) -> (ObjectKey, Claim) {
        let created = Timestamp::from_second(second).ok().filter(|_| second > 0);
        (ObjectKey { kind, name: Name::new("n", name) }, (created, vec![host.to_owned()]))
    }

    fn lost(claims: Vec<(ObjectKey, Claim)>) -> Vec<String> {
        losers(&claims.into_iter().collect()).iter().map(|route| route.name.name.clone()).collect()
    }

    #[test]
    fn the_older_one_keeps_the_host() {
        use ObjectKind::{GrpcRoute, HttpRoute};
        assert_eq!(lost(vec![claim(HttpRoute, "a", 2, "x.example"), claim(GrpcRoute, "b", 1, "*.example")]), ["a"]);
        assert_eq!(lost(vec![claim(HttpRoute, "b", 0, "x.example"), claim(GrpcRoute, "a", 0, "x.example")]), ["b"]);
        assert!(lost(vec![claim(HttpRoute, "a", 2, "x.example"), claim(GrpcRoute, "b", 1, "y.example")]).is_empty());
        assert!(lost(vec![claim(HttpRoute, "a", 2, "x.example"), claim(HttpRoute, "b", 1, "x.example")]).is_empty());
    }

    #[test]
    fn one_that_loses_is_in_nobodys_way() {
        use ObjectKind::{GrpcRoute, HttpRoute};
        let claims = vec![
            claim(HttpRoute, "a", 1, "x.example"),
            claim(GrpcRoute, "b", 2, "*.example"),
            claim(HttpRoute, "c", 3, "y.example"),
        ];
        assert_eq!(lost(claims), ["b"]);
    }
}
