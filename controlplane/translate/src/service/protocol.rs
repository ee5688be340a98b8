//! What a port of a Service says that it speaks (`appProtocol`, GEP-1911).

use agentgateway_proto::v1::HttpVersion;
use agentgateway_proto::v1::mcp_http::Protocol;

/// What is spoken behind a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spoken {
    pub(super) application: Application,
    /// It is encrypted, so a BackendTLSPolicy must say how.
    pub(super) tls: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Application {
    Http,
    Http2,
    WebSocket,
    Mcp(Protocol),
    A2a,
    /// Nothing that carries requests of HTTP.
    Other,
}

impl Spoken {
    /// What an `appProtocol` means. Names in domains of others are theirs, and taken for HTTP.
    pub(super) fn of(app_protocol: Option<&str>) -> Spoken {
        let plain = |application| Spoken { application, tls: false };
        let encrypted = |application| Spoken { application, tls: true };
        match app_protocol.map(str::to_ascii_lowercase).as_deref() {
            None | Some("" | "http" | "http1" | "http/1.1" | "www" | "www-http" | "http-alt") => {
                plain(Application::Http)
            }
            Some("kubernetes.io/h2c" | "h2c" | "http2" | "http/2" | "grpc" | "grpc-web") => plain(Application::Http2),
            Some("kubernetes.io/ws" | "ws") => plain(Application::WebSocket),
            Some("kubernetes.io/wss" | "wss") => encrypted(Application::WebSocket),
            Some("https" | "tls") => encrypted(Application::Http),
            Some("kgateway.dev/mcp") => plain(Application::Mcp(Protocol::StreamableHttp)),
            Some("kgateway.dev/mcp-sse") => plain(Application::Mcp(Protocol::Sse)),
            Some("kgateway.dev/a2a") => plain(Application::A2a),
            Some(other) if other.contains('/') && !other.starts_with("kubernetes.io/") => plain(Application::Http),
            Some(_) => plain(Application::Other),
        }
    }

    pub(super) fn version(self) -> HttpVersion {
        match self.application {
            Application::Http2 => HttpVersion::H2c,
            Application::WebSocket => HttpVersion::Http11,
            Application::Http | Application::Mcp(_) | Application::A2a | Application::Other => HttpVersion::Unspecified,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_told_apart() {
        for (written, application, tls) in [
            (None, Application::Http, false),
            (Some("HTTPS"), Application::Http, true),
            (Some("kubernetes.io/wss"), Application::WebSocket, true),
            (Some("kubernetes.io/h2c"), Application::Http2, false),
            (Some("kubernetes.io/quantum"), Application::Other, false),
            (Some("redis"), Application::Other, false),
            (Some("example.com/anything"), Application::Http, false),
            (Some("kgateway.dev/a2a"), Application::A2a, false),
        ] {
            assert_eq!(Spoken::of(written), Spoken { application, tls }, "{written:?}");
        }
    }
}
