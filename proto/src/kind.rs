//! The kinds of resource, their type URLs and the order in which they are pushed.

/// A kind of resource; one xDS type URL each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// One address behind a Service port.
    Endpoint,
    /// What a route sends requests to.
    Backend,
    /// A policy attached to a target.
    Policy,
    /// One match of one HTTP or gRPC rule on one listener.
    Route,
    /// One TCP or TLS rule on one listener.
    TcpRoute,
    /// One UDP rule on one listener.
    UdpRoute,
    /// A host name and protocol on a bind.
    Listener,
    /// A socket.
    Bind,
    /// The mark that ends a translation.
    Generation,
}

impl Kind {
    /// All kinds in make-before-break order: what is referred to comes before what refers to it, the mark comes last.
    /// Removals go the other way round.
    pub const PUSH_ORDER: [Kind; 9] = [
        Kind::Endpoint,
        Kind::Backend,
        Kind::Policy,
        Kind::Route,
        Kind::TcpRoute,
        Kind::UdpRoute,
        Kind::Listener,
        Kind::Bind,
        Kind::Generation,
    ];

    /// Name of the protobuf message.
    pub const fn message(self) -> &'static str {
        match self {
            Kind::Endpoint => "Endpoint",
            Kind::Backend => "Backend",
            Kind::Policy => "Policy",
            Kind::Route => "Route",
            Kind::TcpRoute => "TcpRoute",
            Kind::UdpRoute => "UdpRoute",
            Kind::Listener => "Listener",
            Kind::Bind => "Bind",
            Kind::Generation => "Generation",
        }
    }

    /// The xDS type URL.
    pub const fn type_url(self) -> &'static str {
        match self {
            Kind::Endpoint => "type.googleapis.com/agentgateway.resource.v1.Endpoint",
            Kind::Backend => "type.googleapis.com/agentgateway.resource.v1.Backend",
            Kind::Policy => "type.googleapis.com/agentgateway.resource.v1.Policy",
            Kind::Route => "type.googleapis.com/agentgateway.resource.v1.Route",
            Kind::TcpRoute => "type.googleapis.com/agentgateway.resource.v1.TcpRoute",
            Kind::UdpRoute => "type.googleapis.com/agentgateway.resource.v1.UdpRoute",
            Kind::Listener => "type.googleapis.com/agentgateway.resource.v1.Listener",
            Kind::Bind => "type.googleapis.com/agentgateway.resource.v1.Bind",
            Kind::Generation => "type.googleapis.com/agentgateway.resource.v1.Generation",
        }
    }

    /// The kind with this type URL.
    pub fn from_type_url(url: &str) -> Option<Kind> {
        Kind::PUSH_ORDER.into_iter().find(|k| k.type_url() == url)
    }
}
