//! Backends: what routes send requests to, in the spellings of the `Backend` resource and of the YAML file.

mod a2a;
pub mod ai;
mod ai_file;
mod mcp_federation;
mod mcp_file;
mod mcp_openapi;
mod mcp_resilience;
mod mcp_static;
mod static_hosts;

pub use a2a::A2aBackend;
pub use ai_file::{
    AiAzure, AiBedrock, AiCompatible, AiGroup, AiGroups, AiModel, AiProvider, AiProviderKind, AiProviderPolicies,
    AiVertex,
};
pub use mcp_federation::{McpFailureMode, McpPrefixMode};
pub use mcp_file::{McpAddress, McpGroup, McpOpenApi, McpTarget, Stdio};
pub use mcp_openapi::McpOpenApiTarget;
pub use mcp_resilience::{McpCircuitBreaker, McpTimeouts};
pub use mcp_static::{McpProtocol, McpStaticTarget};
pub use static_hosts::{AppProtocol, HostBackend, HostPort, StaticBackend};
