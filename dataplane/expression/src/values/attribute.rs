//! Names that rules may use, and the single identifiers to which the lowered tree resolves them.

/// Variables whose fields policies decide: those that checked a credential, and those that leave something for others.
pub(crate) const OF_POLICIES: [&str; 4] = ["jwt", "apiKey", "basicAuth", "metadata"];
pub(crate) const A2A_METHOD: &str = "@a2a.method";
/// What was learnt of a request.
pub(crate) const FIELDS: &str = "fields";
pub(crate) const HEADERS: &str = "@request.headers";
pub(crate) const REQUEST_BODY: &str = "@request.body";
pub(crate) const RESPONSE_BODY: &str = "@response.body";

/// A variable, or a field, that is a group of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    Request,
    Source,
    A2a,
    Mcp,
    Tool,
    Prompt,
    Resource,
    Response,
}

/// What a field of a [`Parent`] is.
pub(crate) enum Field {
    /// A value, under its identifier in the lowered tree.
    Value(&'static str),
    Parent(Parent),
}

impl Parent {
    /// The variable of this name.
    pub(crate) fn root(name: &str) -> Option<Parent> {
        match name {
            "request" => Some(Parent::Request),
            "source" => Some(Parent::Source),
            "mcp" => Some(Parent::Mcp),
            "a2a" => Some(Parent::A2a),
            "response" => Some(Parent::Response),
            _ => None,
        }
    }

    /// As users write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Parent::Request => "request",
            Parent::Source => "source",
            Parent::Mcp => "mcp",
            Parent::A2a => "a2a",
            Parent::Tool => "mcp.tool",
            Parent::Prompt => "mcp.prompt",
            Parent::Resource => "mcp.resource",
            Parent::Response => "response",
        }
    }

    fn fields(self) -> &'static [&'static str] {
        match self {
            Parent::Request => &["method", "path", "uri", "host", "scheme", "headers", "query"],
            Parent::Source => &["address", "port", "identity", "subject", "subjectAltNames"],
            Parent::Mcp => &["method", "tool", "prompt", "resource"],
            Parent::A2a => &["method", "version", "skill", "task", "context"],
            Parent::Tool | Parent::Prompt => &["name", "target", "arguments"],
            Parent::Resource => &["uri", "name", "target"],
            Parent::Response => &["code", "headers", "body"],
        }
    }

    /// Its fields, for a message.
    pub(crate) fn known(self) -> String {
        self.fields().join(", ")
    }

    /// Whether it belongs to `mcp`.
    pub(crate) fn is_mcp(self) -> bool {
        !matches!(self, Parent::Request | Parent::Source | Parent::Response | Parent::A2a)
    }

    /// The field of this name.
    pub(crate) fn field(self, name: &str) -> Option<Field> {
        let value = match (self, name) {
            (Parent::Mcp, "tool") => return Some(Field::Parent(Parent::Tool)),
            (Parent::Mcp, "prompt") => return Some(Field::Parent(Parent::Prompt)),
            (Parent::Mcp, "resource") => return Some(Field::Parent(Parent::Resource)),
            (Parent::Request, "method") => "@request.method",
            (Parent::Request, "path") => "@request.path",
            (Parent::Request, "uri") => "@request.uri",
            (Parent::Request, "host") => "@request.host",
            (Parent::Request, "scheme") => "@request.scheme",
            (Parent::Request, "headers") => HEADERS,
            (Parent::Request, "query") => "@request.query",
            (Parent::Request, "body") => REQUEST_BODY,
            (Parent::Response, "code") => "@response.code",
            (Parent::Response, "headers") => "@response.headers",
            (Parent::Response, "body") => RESPONSE_BODY,
            (Parent::Source, "address") => "@source.address",
            (Parent::Source, "port") => "@source.port",
            (Parent::Source, "identity") => "@source.identity",
            (Parent::Source, "subject") => "@source.subject",
            (Parent::Source, "subjectAltNames") => "@source.subjectAltNames",
            (Parent::Mcp, "method") => "@mcp.method",
            (Parent::A2a, "method") => A2A_METHOD,
            (Parent::A2a, "version") => "@a2a.version",
            (Parent::A2a, "skill") => "@a2a.skill",
            (Parent::A2a, "task") => "@a2a.task",
            (Parent::A2a, "context") => "@a2a.context",
            (Parent::Tool, "name") => "@tool.name",
            (Parent::Tool, "target") => "@tool.target",
            (Parent::Tool, "arguments") => "@tool.arguments",
            (Parent::Prompt, "name") => "@prompt.name",
            (Parent::Prompt, "target") => "@prompt.target",
            (Parent::Prompt, "arguments") => "@prompt.arguments",
            (Parent::Resource, "uri") => "@resource.uri",
            (Parent::Resource, "name") => "@resource.name",
            (Parent::Resource, "target") => "@resource.target",
            _ => return None,
        };
        Some(Field::Value(value))
    }

    /// Identifier of `has(mcp.tool)`: whether the item is of this kind.
    pub(crate) fn is_present(self) -> &'static str {
        match self {
            Parent::Tool => "@is.tool",
            Parent::Prompt => "@is.prompt",
            Parent::Resource => "@is.resource",
            Parent::Request | Parent::Source | Parent::Mcp | Parent::A2a | Parent::Response => "@is.request",
        }
    }

    /// Identifier of `has(mcp.tool.name)`: true on an item of this kind, absent on another, as reading the field is; and of
    /// `has(source.identity)`, which not every client has. None for what is always there.
    pub(crate) fn must_be_present(self, value: &str) -> Option<&'static str> {
        match (self, value) {
            (Parent::Tool, _) => Some("@tool.present"),
            (Parent::Prompt, _) => Some("@prompt.present"),
            (Parent::Resource, _) => Some("@resource.present"),
            (Parent::Source, "@source.identity") => Some("@source.has.identity"),
            (Parent::Source, "@source.subject" | "@source.subjectAltNames") => Some("@source.has.certificate"),
            (Parent::A2a, "@a2a.skill") => Some("@a2a.has.skill"),
            (Parent::A2a, "@a2a.task") => Some("@a2a.has.task"),
            (Parent::A2a, "@a2a.context") => Some("@a2a.has.context"),
            (Parent::Request | Parent::Source | Parent::Mcp | Parent::A2a | Parent::Response, _) => None,
        }
    }
}

/// For the identifier of a name that has two forms, the identifiers of both.
pub(crate) fn both_names(identifier: &str) -> Option<(&'static str, &'static str)> {
    match identifier {
        "@tool.name" => Some(("@tool.name", "@tool.federated")),
        "@prompt.name" => Some(("@prompt.name", "@prompt.federated")),
        _ => None,
    }
}

/// Whether an identifier that could not be resolved belongs to an item, which then is of another kind.
pub(crate) fn of_item(identifier: &str) -> bool {
    ["@tool.", "@prompt.", "@resource."].iter().any(|prefix| identifier.starts_with(prefix))
}

/// A lowered identifier as users wrote it.
pub(crate) fn printed(identifier: &str) -> String {
    match identifier.strip_prefix('@') {
        Some(name) if of_item(identifier) => format!("mcp.{name}"),
        Some(name) => name.to_owned(),
        None => identifier.to_owned(),
    }
}
