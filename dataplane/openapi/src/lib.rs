//! OpenAPI documents (3.0 and 3.1) as MCP tools: each operation is a tool, whose arguments are the operation's parameters
//! and its body.
//!
//! Pure: nothing is sent here. A document is read once ([`Api::parse`]); a call's arguments become a request
//! ([`Api::request`]), and its answer a result ([`result`]).

mod answer;
mod document;
mod parameter;
mod schema;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Map, Value};

pub use answer::result;
use parameter::Parameter;

/// Largest document, in bytes.
pub const DOCUMENT_BYTES: usize = 1 << 20;
/// Most tools of a document.
pub const TOOLS: usize = 500;
/// Parts of one tool's schema, after references were replaced by what they refer to; deeper or further parts are left open.
const SCHEMA_PARTS: usize = 5_000;
/// Parts of the schemas of all tools.
const ALL_PARTS: usize = 200_000;
/// So many bytes of text are one more part: a long text can be referred to many times.
const PART_BYTES: usize = 64;
/// Longest description of a tool or an argument, in bytes; the rest is left out.
const DESCRIPTION: usize = 4 << 10;
/// Longest name of a parameter or media type, in bytes.
const NAME_BYTES: usize = 256;
/// Depth of a tool's schema.
const SCHEMA_DEPTH: usize = 32;
/// References that lead to one another before something is there.
const REFERENCES: usize = 16;

/// As much of a text as a description may have.
fn described(text: &str) -> &str {
    text.get(..text.floor_char_boundary(DESCRIPTION)).unwrap_or(text)
}

/// A document, read.
#[derive(Debug)]
pub struct Api {
    title: String,
    version: String,
    description: Option<String>,
    /// Path of the server that the document names, without a slash at its end.
    base: String,
    operations: Vec<Operation>,
    /// Operations that are no tools, and why.
    skipped: Vec<String>,
}

/// A tool.
#[derive(Debug)]
struct Operation {
    name: String,
    method: Method,
    /// Path template.
    path: String,
    parameters: Vec<Parameter>,
    body: Option<RequestBody>,
    /// The tool as `tools/list` has it.
    tool: Value,
}

#[derive(Debug)]
struct RequestBody {
    content_type: String,
    is_required: bool,
}

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is larger than [`DOCUMENT_BYTES`].
    #[error("the document has {0} bytes; at most {DOCUMENT_BYTES} are allowed")]
    TooLarge(usize),
    /// It is not JSON.
    #[error("the document is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It is not of a version that is known here.
    #[error("the document is not OpenAPI 3.0 or 3.1: {0}")]
    Version(String),
    /// It has more than [`TOOLS`] operations.
    #[error("the document has more than {TOOLS} operations that could be tools")]
    TooManyTools,
    /// Schemas are too large in sum.
    #[error("the schemas of the document's operations have more than {ALL_PARTS} parts in sum")]
    TooManyParts,
    /// A part of it is not what OpenAPI has there.
    #[error("{at}: {reason}")]
    Invalid {
        /// The part, as a JSON pointer.
        at: String,
        /// What is wrong.
        reason: String,
    },
    /// Nothing in it can be called.
    #[error("no operation of the document can be a tool{0}")]
    Empty(String),
}

/// A call over HTTP. The host is not part of it.
#[derive(Debug)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Path and query, encoded.
    pub target: String,
    /// Headers that the arguments and the body ask for.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why a call is none, said to who makes it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no such tool.
    #[error("Unknown tool: {0}")]
    UnknownTool(String),
    /// An argument cannot be used.
    #[error("argument \"{0}\": {1}")]
    Argument(String, &'static str),
}

impl Api {
    /// Reads a document. `base` is the path before those of the document; None: that of the first server that it names.
    ///
    /// # Errors
    /// It is not a document that can be used; see [`DocumentError`].
    pub fn parse(text: &str, base: Option<&str>) -> Result<Api, DocumentError> {
        document::parse(text, base)
    }

    /// What the API is called.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What it is for.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The tools, as `tools/list` has them.
    pub fn tools(&self) -> impl Iterator<Item = &Value> {
        self.operations.iter().map(|operation| &operation.tool)
    }

    /// Operations that are no tools, each with the reason.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// What a call of `tool` with these arguments is.
    ///
    /// # Errors
    /// There is no such tool, or an argument cannot be used.
    pub fn request(&self, tool: &str, arguments: &Map<String, Value>) -> Result<Request, CallError> {
        let found = self.operations.iter().find(|operation| operation.name == tool);
        found.ok_or_else(|| CallError::UnknownTool(tool.to_owned()))?.request(&self.base, arguments)
    }
}
