//! Names of the Model Context Protocol: versions, methods, headers and error codes.

use std::fmt;

/// Protocol versions, oldest first. All but the last begin with an `initialize` handshake; with the last, every request
/// stands for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    V2024_11_05,
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
    V2026_07_28,
}

impl Version {
    pub(crate) const ALL: [Self; 5] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];
    /// The latest with a handshake.
    pub(crate) const LATEST: Self = Self::V2025_11_25;
    /// The one without.
    pub(crate) const MODERN: Self = Self::V2026_07_28;

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.as_str() == text)
    }

    /// A version with a handshake.
    pub(crate) fn parse_handshake(text: &str) -> Option<Self> {
        Self::parse(text).filter(|v| !v.is_modern())
    }

    /// Whether requests carry what a handshake would have agreed.
    pub(crate) fn is_modern(self) -> bool {
        self == Self::MODERN
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Only one version has JSON-RPC batches: they came with it and left with its successor.
    pub(crate) fn has_batches(self) -> bool {
        self == Self::V2025_03_26
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! methods {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// Methods that the gateway treats by name; all others are `Other`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Method { $($variant),*, Other }

        impl Method {
            /// In the order of their numbers.
            pub(crate) const ALL: [Self; Self::COUNT] = [$(Self::$variant,)* Self::Other];
            pub(crate) const COUNT: usize = [$($name),*].len() + 1;

            pub(crate) fn parse(name: &str) -> Self {
                match name { $($name => Self::$variant,)* _ => Self::Other }
            }

            /// The method's name; "other" keeps the number of metric labels bounded.
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* Self::Other => "other" }
            }
        }
    };
}

methods! {
    Initialize = "initialize",
    Discover = "server/discover",
    Listen = "subscriptions/listen",
    Ping = "ping",
    ToolsList = "tools/list",
    ToolsCall = "tools/call",
    PromptsList = "prompts/list",
    PromptsGet = "prompts/get",
    ResourcesList = "resources/list",
    ResourceTemplatesList = "resources/templates/list",
    ResourcesRead = "resources/read",
    ResourcesSubscribe = "resources/subscribe",
    ResourcesUnsubscribe = "resources/unsubscribe",
    CompletionComplete = "completion/complete",
    SetLevel = "logging/setLevel",
    SamplingCreateMessage = "sampling/createMessage",
    ElicitationCreate = "elicitation/create",
    RootsList = "roots/list",
    Initialized = "notifications/initialized",
    Cancelled = "notifications/cancelled",
    Progress = "notifications/progress",
    LogMessage = "notifications/message",
    RootsListChanged = "notifications/roots/list_changed",
    ToolsListChanged = "notifications/tools/list_changed",
    PromptsListChanged = "notifications/prompts/list_changed",
    ResourcesListChanged = "notifications/resources/list_changed",
    ResourcesUpdated = "notifications/resources/updated",
    Acknowledged = "notifications/subscriptions/acknowledged",
}

impl Method {
    /// Whether a repeated request does no more than one: only these are sent again after an answer was lost.
    pub(crate) fn is_idempotent(self) -> bool {
        matches!(
            self,
            Self::Ping
                | Self::ToolsList
                | Self::PromptsList
                | Self::PromptsGet
                | Self::ResourcesList
                | Self::ResourceTemplatesList
                | Self::ResourcesRead
                | Self::ResourcesSubscribe
                | Self::ResourcesUnsubscribe
                | Self::CompletionComplete
                | Self::SetLevel
                | Self::Discover
        )
    }
}

impl Method {
    /// The param that `Mcp-Name` repeats.
    pub(crate) fn name_param(self) -> Option<&'static str> {
        match self {
            Self::ToolsCall | Self::PromptsGet => Some("name"),
            Self::ResourcesRead => Some("uri"),
            _ => None,
        }
    }

    /// Whether results say for how long, and for whom, they may be kept.
    pub(crate) fn is_cacheable(self) -> bool {
        matches!(
            self,
            Self::Discover
                | Self::ToolsList
                | Self::PromptsList
                | Self::ResourcesList
                | Self::ResourceTemplatesList
                | Self::ResourcesRead
        )
    }
}

/// Members of `_meta` that stand for the handshake of earlier versions.
pub(crate) mod meta {
    pub(crate) const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    pub(crate) const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    pub(crate) const CLIENT: &str = "io.modelcontextprotocol/clientInfo";
    pub(crate) const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
    /// What stands for a handshake.
    pub(crate) const OF_CLIENT: [&str; 4] = [VERSION, CAPABILITIES, CLIENT, LOG_LEVEL];
    pub(crate) const SERVER: &str = "io.modelcontextprotocol/serverInfo";
    pub(crate) const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
}

/// Header that carries the session id.
pub(crate) const SESSION_ID: http::HeaderName = http::HeaderName::from_static("mcp-session-id");
/// Header that carries the negotiated protocol version.
pub(crate) const PROTOCOL_VERSION: http::HeaderName = http::HeaderName::from_static("mcp-protocol-version");
/// Header that repeats the message's method.
pub(crate) const METHOD: http::HeaderName = http::HeaderName::from_static("mcp-method");
/// Header that repeats the name of the tool or prompt, or the URI of the resource.
pub(crate) const NAME: http::HeaderName = http::HeaderName::from_static("mcp-name");
/// What headers begin with that repeat an argument of a tool.
pub(crate) const PARAM_PREFIX: &str = "mcp-param-";
/// Header by which a client resumes a broken stream.
pub(crate) const LAST_EVENT_ID: http::HeaderName = http::HeaderName::from_static("last-event-id");

/// JSON-RPC and MCP error codes.
pub(crate) mod code {
    pub(crate) const PARSE: i32 = -32700;
    pub(crate) const INVALID_REQUEST: i32 = -32600;
    pub(crate) const METHOD_NOT_FOUND: i32 = -32601;
    pub(crate) const INVALID_PARAMS: i32 = -32602;
    /// A fault of a target or of the gateway.
    pub(crate) const INTERNAL: i32 = -32603;
    /// What the official SDKs send for a request outside of a session.
    pub(crate) const BAD_REQUEST: i32 = -32000;
    /// What the official SDKs send for an unknown session.
    pub(crate) const SESSION_NOT_FOUND: i32 = -32001;
    /// The resource code of the handshake era.
    pub(crate) const RESOURCE_NOT_FOUND: i32 = -32002;
    /// A header is missing, or says something else than the body.
    pub(crate) const HEADER_MISMATCH: i32 = -32020;
    /// The client cannot do what the request needs.
    pub(crate) const MISSING_CAPABILITY: i32 = -32021;
    pub(crate) const UNSUPPORTED_VERSION: i32 = -32022;
}
