//! What rules can speak of: the request, and the MCP item or the call of an agent.

use std::net::SocketAddr;

use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::Value;

/// A request as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct HttpInput<'a> {
    /// `request.method`.
    pub method: &'a Method,
    /// `request.uri`, and by parts `request.path` and `request.query`.
    pub uri: &'a Uri,
    /// `request.scheme`: "http" or "https".
    pub scheme: &'a str,
    /// `request.host`: without a port; rules see it in lower case.
    pub host: &'a str,
    /// `request.headers`.
    pub headers: &'a HeaderMap,
    /// `jwt`: claims of a verified token. Without one, `jwt` is an empty map.
    pub claims: Option<&'a Value>,
    /// `apiKey`: name and metadata of a verified API key. Without one, `apiKey` is an empty map.
    pub api_key: Option<&'a Value>,
    /// `basicAuth`: the name of whom a verified password is. Without one, `basicAuth` is an empty map.
    pub basic_auth: Option<&'a Value>,
    /// `metadata`: what policies before this one left for it, an object. Without any, `metadata` is an empty map.
    pub metadata: Option<&'a Value>,
    /// `source.address` and `source.port`.
    pub source: SocketAddr,
    /// `source.identity`, `source.subject` and `source.subjectAltNames`; None without a verified certificate.
    pub certificate: Option<ClientCertificate<'a>>,
    /// `request.body`, or `response.body` where there is a response; None where it was not read.
    pub body: Option<BodyInput<'a>>,
    /// `response`.
    pub response: Option<ResponseInput<'a>>,
    /// `fields`: what was learnt of the request, a JSON object. None where nothing is recorded.
    pub fields: Option<&'a Value>,
}

/// A body that was read whole.
#[derive(Clone, Copy, Debug)]
pub enum BodyInput<'a> {
    /// As a text.
    Text(&'a str),
    /// As what it is as JSON.
    Json(&'a Value),
}

/// A response as expressions see it.
#[derive(Clone, Copy, Debug)]
pub struct ResponseInput<'a> {
    /// `response.code`.
    pub status: StatusCode,
    /// `response.headers`.
    pub headers: &'a HeaderMap,
}

/// The names in a client's certificate that was verified.
#[derive(Clone, Copy, Debug)]
pub struct ClientCertificate<'a> {
    /// `source.identity`: the SPIFFE id, absent when there is none.
    pub spiffe: Option<&'a str>,
    /// `source.subject`, such as `CN=client, O=Example`.
    pub subject: &'a str,
    /// `source.subjectAltNames`: DNS names and URIs.
    pub names: &'a [String],
}

/// An item that an MCP server offers, in a list or as the object of a call.
///
/// `mcp.method` is the method that uses such an item (`tools/call`, `prompts/get`, `resources/read`), in lists too, because
/// a list shows what a call would be allowed.
#[derive(Clone, Copy, Debug)]
pub enum McpItem<'a> {
    /// `mcp.tool`.
    Tool {
        /// The server's name in the configuration.
        target: &'a str,
        /// Name at its own server.
        name: &'a str,
        /// Name under which clients of the gateway know it; equals `name` where one target is not prefixed.
        federated_name: &'a str,
        /// Arguments of a call; none in a list, where `mcp.tool.arguments` is an empty map.
        arguments: Option<&'a Value>,
    },
    /// `mcp.prompt`.
    Prompt {
        /// The server's name in the configuration.
        target: &'a str,
        /// Name at its own server.
        name: &'a str,
        /// Name under which clients of the gateway know it.
        federated_name: &'a str,
        /// Arguments of a get; none in a list.
        arguments: Option<&'a Value>,
    },
    /// `mcp.resource`; a resource template is one too, with its template as the URI.
    Resource {
        /// The server's name in the configuration.
        target: &'a str,
        /// URI at its own server.
        uri: &'a str,
        /// Name, where it is known; empty when a client reads a URI directly.
        name: &'a str,
    },
}

/// A call of an agent.
#[derive(Clone, Copy, Debug)]
pub struct A2aCall<'a> {
    /// `a2a.method`: the operation under the name that A2A 1.0 gives it, `SendMessage`, also where a client writes it as
    /// 0.3 does; a method of an extension as it is written.
    pub method: &'a str,
    /// `a2a.version`: of the protocol, as the client names it; "0.3" where it names none.
    pub version: &'a str,
    /// `a2a.skill`: what the client says that it wants of the agent; absent where it says nothing.
    pub skill: Option<&'a str>,
    /// `a2a.task`: id of the task that the call is about; absent where there is none yet.
    pub task: Option<&'a str>,
    /// `a2a.context`: id of the conversation; absent where the call names none.
    pub context: Option<&'a str>,
}

impl McpItem<'_> {
    /// The method that uses such an item.
    pub fn method(&self) -> &'static str {
        match self {
            McpItem::Tool { .. } => "tools/call",
            McpItem::Prompt { .. } => "prompts/get",
            McpItem::Resource { .. } => "resources/read",
        }
    }
}
