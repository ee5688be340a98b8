//! The gateway's address as a client sees it, for the URLs of a card.

use agentgateway_policy::RequestContext;
use http::request::Parts;
use http::{Uri, header};

/// How URLs of an agent become URLs of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// "https".
    scheme: String,
    /// "agents.example.com:8443".
    authority: String,
    /// What clients write before a path of the agent, and what the agent has in its place: the route may rewrite one to the other.
    outside: String,
    inside: String,
}

impl Address {
    /// As the request says, or as the operator says with `public_url`.
    pub(crate) fn of(head: &Parts, context: &RequestContext, public_url: &str) -> Address {
        let asked = context.asked.as_deref();
        let now = head.uri.path();
        let before = asked.and_then(|asked| asked.path.as_ref()).map_or(now, |path| path.path());
        let (outside, inside) = without_common_end(before, now);
        let (scheme, authority) = match public_url.split_once("://") {
            Some((scheme, authority)) => (scheme.to_owned(), authority.to_owned()),
            None => {
                let host = |value: &http::HeaderValue| value.to_str().ok().map(str::to_owned);
                let authority = asked
                    .and_then(|asked| asked.authority.as_ref().and_then(host))
                    .or_else(|| head.uri.authority().map(ToString::to_string))
                    .or_else(|| head.headers.get(header::HOST).and_then(host));
                (context.scheme.to_owned(), authority.unwrap_or_default())
            }
        };
        Address { scheme, authority, outside: outside.to_owned(), inside: inside.to_owned() }
    }

    /// The gateway's URL for one of the agent's: "http://agent:9999/rpc?x" or, as gRPC has it, "agent:50051".
    pub(crate) fn map(&self, url: &str) -> String {
        let Address { scheme, authority, outside, inside } = self;
        let Some((written, rest)) = url.split_once("://") else {
            return match url.strip_prefix('/') {
                // Relative to wherever the card was.
                Some(_) => {
                    format!("{scheme}://{authority}{outside}{}", url.strip_prefix(inside.as_str()).unwrap_or(url))
                }
                None => self.with_port(),
            };
        };
        if !matches!(written, "http" | "https") {
            return format!("{written}://{authority}");
        }
        let path = rest.find(['/', '?', '#']).map_or("", |at| rest.get(at..).unwrap_or_default());
        let below =
            path.strip_prefix(inside.as_str()).filter(|below| below.is_empty() || below.starts_with(['/', '?', '#']));
        format!("{scheme}://{authority}{outside}{}", below.unwrap_or(path))
    }

    /// As gRPC's clients name a host.
    fn with_port(&self) -> String {
        let has_port = self.authority.parse::<Uri>().is_ok_and(|uri| uri.port().is_some());
        match (has_port, self.scheme.as_str()) {
            (true, _) => self.authority.clone(),
            (false, "https") => format!("{}:443", self.authority),
            (false, _) => format!("{}:80", self.authority),
        }
    }
}

/// Both paths without the segments in which they end alike.
fn without_common_end<'a>(mut one: &'a str, mut other: &'a str) -> (&'a str, &'a str) {
    while let (Some((one_rest, one_last)), Some((other_rest, other_last))) =
        (one.rsplit_once('/'), other.rsplit_once('/'))
        && one_last == other_last
    {
        (one, other) = (one_rest, other_rest);
    }
    (one.trim_end_matches('/'), other.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use agentgateway_policy::Asked;

    use super::*;

    fn address(asked: &str, now: &str, public_url: &str) -> Address {
        let request = http::Request::get(now).header("host", "agent.internal:1").body(()).expect("a request");
        let mut context = RequestContext::new(([127, 0, 0, 1], 1).into(), "http", 80);
        context.asked = Some(Box::new(Asked {
            path: Some(asked.parse().expect("a path")),
            authority: Some(http::HeaderValue::from_static("gw.example:8080")),
        }));
        Address::of(&request.into_parts().0, &context, public_url)
    }

    #[test]
    fn urls_lead_through_the_route() {
        const CARD: &str = "/.well-known/agent-card.json";
        let below = address("/agents/a/.well-known/agent-card.json", CARD, "");
        for (agents, gateways) in [
            ("http://agent:9999", "http://gw.example:8080/agents/a"),
            ("http://agent:9999/", "http://gw.example:8080/agents/a/"),
            ("https://agent/rpc?x=1#y", "http://gw.example:8080/agents/a/rpc?x=1#y"),
            ("/rpc", "http://gw.example:8080/agents/a/rpc"),
            ("agent:50051", "gw.example:8080"),
            ("grpc://agent:50051", "grpc://gw.example:8080"),
            ("", "gw.example:8080"),
        ] {
            assert_eq!(below.map(agents), gateways, "{agents}");
        }
        let other = address("/x/.well-known/agent-card.json", "/inner/.well-known/agent-card.json", "");
        assert_eq!(other.map("http://agent/inner/v1"), "http://gw.example:8080/x/v1");
        assert_eq!(other.map("http://agent/innermost"), "http://gw.example:8080/x/innermost");
        let same = address(CARD, CARD, "https://agents.example.com");
        assert_eq!(same.map("http://agent:1/v1"), "https://agents.example.com/v1");
        assert_eq!(same.map("agent:50051"), "agents.example.com:443");
        let rpc = address("/agents/a", "/", "");
        assert_eq!(rpc.map("http://agent:1/"), "http://gw.example:8080/agents/a/");
    }
}
