//! How several MCP servers become one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether names of tools and prompts carry their target's name, as in `target_tool`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum McpPrefixMode {
    /// Where there are several targets.
    #[default]
    Conditional,
    /// Also where there is one.
    Always,
    /// Not at all. Of two targets with a tool of one name, only the first one's can be seen and used.
    Never,
}

/// What becomes of a handshake or a list when a target fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum McpFailureMode {
    /// The other targets answer, and what the failed one has is missing.
    #[default]
    FailOpen,
    /// It fails, so that no client takes a part for the whole.
    FailClosed,
}
