//! What a cluster has of Gateway API: which kinds, and of which release. A feature of a kind or a field that it does not have
//! cannot be used there, whatever the proxy can do.

use std::collections::BTreeMap;

use crate::conditions::Verdict;

/// Releases whose definitions this program was made for, as (major, minor).
const OLDEST: (u32, u32) = (1, 5);
const NEWEST: (u32, u32) = (1, 7);
/// From this release on the standard channel has `retry` in the rules of an HTTPRoute; before it the experimental one.
const STANDARD_RETRY: (u32, u32) = (1, 7);

/// What a definition says of itself by the annotations `gateway.networking.k8s.io/bundle-version` and `.../channel`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// As "v1.6.3".
    pub version: Option<String>,
    /// As "standard".
    pub channel: Option<String>,
}

impl Release {
    fn numbers(&self) -> Option<(u32, u32)> {
        let mut parts = self.version.as_deref()?.strip_prefix('v')?.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

/// The definitions of Gateway API that a cluster has, by the plural name of their kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed(pub BTreeMap<String, Release>);

impl Installed {
    /// Whether a feature of the conformance suite can be used with these definitions.
    pub(crate) fn allows(&self, feature: &str) -> bool {
        // A feature's name begins with its kind's; those of listeners and addresses are the Gateway's.
        let kinds = [
            ("BackendTLSPolicy", "backendtlspolicies"),
            ("GRPCRoute", "grpcroutes"),
            ("Gateway", "gateways"),
            ("HTTPRoute", "httproutes"),
            ("ListenerSet", "listenersets"),
            ("ReferenceGrant", "referencegrants"),
            ("TCPRoute", "tcproutes"),
            ("TLSRoute", "tlsroutes"),
            ("UDPRoute", "udproutes"),
        ];
        let Some((_, plural)) = kinds.into_iter().find(|(kind, _)| feature.starts_with(kind)) else { return true };
        let Some(release) = self.0.get(plural) else { return false };
        if feature.starts_with("HTTPRouteRetry") {
            let experimental = release.channel.as_deref() == Some("experimental");
            return experimental || release.numbers().is_some_and(|numbers| numbers >= STANDARD_RETRY);
        }
        true
    }

    /// The condition `SupportedVersion` of a GatewayClass.
    pub(crate) fn verdict(&self) -> Verdict {
        let known = |release: &Release| release.numbers().is_some_and(|numbers| (OLDEST..=NEWEST).contains(&numbers));
        let unknown: Vec<String> = self
            .0
            .iter()
            .filter(|(_, release)| !known(release))
            .map(|(plural, release)| format!("{plural} ({})", release.version.as_deref().unwrap_or("no version")))
            .collect();
        if unknown.is_empty() {
            return Verdict::yes("SupportedVersion", "SupportedVersion", "the release of Gateway API is supported");
        }
        let message = format!(
            "made for Gateway API {}.{} to {}.{}; definitions of other releases are used as far as they fit: {}",
            OLDEST.0,
            OLDEST.1,
            NEWEST.0,
            NEWEST.1,
            unknown.join(", ")
        );
        Verdict::no("SupportedVersion", "UnsupportedVersion", message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(plurals: &[&str], version: &str, channel: &str) -> Installed {
        let release = Release { version: Some(version.to_owned()), channel: Some(channel.to_owned()) };
        Installed(plurals.iter().map(|plural| ((*plural).to_owned(), release.clone())).collect())
    }

    #[test]
    fn what_a_cluster_lacks_cannot_be_used() {
        let standard = installed(&["gateways", "httproutes"], "v1.6.3", "standard");
        assert!(standard.allows("GatewayPort8080") && standard.allows("HTTPRouteMethodMatching"));
        assert!(!standard.allows("TLSRouteModeTerminate") && !standard.allows("HTTPRouteRetry"));
        assert!(installed(&["httproutes"], "v1.6.3", "experimental").allows("HTTPRouteRetryConnectionError"));
        assert!(installed(&["httproutes"], "v1.7.0-rc.1", "standard").allows("HTTPRouteRetry"));
    }

    #[test]
    fn releases_that_nobody_has_seen_are_told() {
        let is = |version| installed(&["gateways"], version, "standard").verdict().holds;
        assert!(is("v1.5.0") && is("v1.6.3") && is("v1.7.2"));
        assert!(!is("v1.4.1") && !is("v1.8.0") && !is("v2.0.0") && !is("main") && !is(""));
        assert!(!Installed(BTreeMap::from([("gateways".to_owned(), Release::default())])).verdict().holds);
    }
}
