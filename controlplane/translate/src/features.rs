//! The features of Gateway API that work, as the status of our GatewayClasses lists them.

/// In alphabetical order, as the specification asks. Names are those of Gateway API's conformance suite.
pub(crate) const SUPPORTED_FEATURES: [&str; 20] = [
    "Gateway",
    "GatewayHTTPListenerIsolation",
    "GatewayPort8080",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteCORS",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_in_alphabetical_order() {
        assert!(SUPPORTED_FEATURES.is_sorted());
    }
}
