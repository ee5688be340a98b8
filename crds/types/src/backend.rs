//! Backends: what routes send requests to, in the spellings of the `Backend` resource and of the YAML file.

mod mcp_federation;
mod mcp_file;
mod mcp_static;
mod static_hosts;

pub use mcp_federation::{McpFailureMode, McpPrefixMode};
pub use mcp_file::{McpAddress, McpGroup, McpTarget, Stdio};
pub use mcp_static::{McpProtocol, McpStaticTarget};
pub use static_hosts::{AppProtocol, HostBackend, HostPort, StaticBackend};
