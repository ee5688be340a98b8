//! A document becomes a list of operations.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Map, Value, json};

use crate::parameter::{Parameter, Place};
use crate::schema::{Expansion, resolve};
use crate::{ALL_PARTS, Api, DOCUMENT_BYTES, DocumentError, NAME_BYTES, Operation, RequestBody, TOOLS, described};

/// Methods whose operations are tools.
const METHODS: [(&str, Method); 5] = [
    ("get", Method::GET),
    ("put", Method::PUT),
    ("post", Method::POST),
    ("delete", Method::DELETE),
    ("patch", Method::PATCH),
];
/// Longest name of a tool.
const NAME: usize = 64;
/// The argument that is the body.
pub(crate) const BODY: &str = "body";

pub(crate) fn parse(text: &str, base: Option<&str>) -> Result<Api, DocumentError> {
    if text.len() > DOCUMENT_BYTES {
        return Err(DocumentError::TooLarge(text.len()));
    }
    let document: Value = serde_json::from_str(text)?;
    let version = document.get("openapi").and_then(Value::as_str).unwrap_or("it has no member \"openapi\"");
    if !version.starts_with("3.0.") && !version.starts_with("3.1.") {
        return Err(DocumentError::Version(version.to_owned()));
    }
    let text_at = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let base = match base {
        Some(base) => base.trim_end_matches('/').to_owned(),
        None => server_path(&document)?,
    };
    let mut reader = Reader { document: &document, names: BTreeSet::new(), parts: 0, skipped: Vec::new() };
    let mut operations = Vec::new();
    let empty = Map::new();
    for (path, item) in document.get("paths").and_then(Value::as_object).unwrap_or(&empty) {
        let at = format!("/paths/{}", escaped(path));
        let invalid = |reason| DocumentError::Invalid { at: at.clone(), reason };
        let item = resolve(&document, item).map_err(invalid)?;
        if !path.starts_with('/') {
            return Err(invalid("a path must begin with a slash".into()));
        }
        for (name, method) in &METHODS {
            let Some(operation) = item.get(*name) else { continue };
            if operations.len() == TOOLS {
                return Err(DocumentError::TooManyTools);
            }
            let at = format!("{at}/{name}");
            match reader.operation(path, method, item, operation) {
                Ok(operation) => operations.push(operation),
                Err(Problem::Skipped(reason)) => reader.skipped.push(format!("{at}: {reason}")),
                Err(Problem::Invalid(reason)) => return Err(DocumentError::Invalid { at, reason }),
            }
            if reader.parts > ALL_PARTS {
                return Err(DocumentError::TooManyParts);
            }
        }
    }
    if operations.is_empty() {
        let first = reader.skipped.first().map(|reason| format!(" ({reason})"));
        return Err(DocumentError::Empty(first.unwrap_or_default()));
    }
    Ok(Api {
        title: text_at("/info/title").unwrap_or_else(|| "openapi".to_owned()),
        version: text_at("/info/version").unwrap_or_default(),
        description: text_at("/info/description").map(|text| described(&text).to_owned()),
        base,
        operations,
        skipped: reader.skipped,
    })
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Path of the first server, with the defaults of its variables.
fn server_path(document: &Value) -> Result<String, DocumentError> {
    let Some(server) = document.pointer("/servers/0") else { return Ok(String::new()) };
    let mut url = server.get("url").and_then(Value::as_str).unwrap_or_default().to_owned();
    for (name, variable) in server.get("variables").and_then(Value::as_object).into_iter().flatten() {
        if let Some(default) = variable.get("default").and_then(Value::as_str) {
            url = url.replace(&format!("{{{name}}}"), default);
        }
    }
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| rest.get(at..).unwrap_or_default()),
        None => &url,
    };
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
    let path = if path.is_empty() { String::new() } else { format!("/{path}") };
    match path.parse::<http::uri::PathAndQuery>() {
        Err(_) if !path.is_empty() => {
            Err(DocumentError::Invalid { at: "/servers/0/url".into(), reason: format!("{path:?} is not a path") })
        }
        _ => Ok(path),
    }
}

enum Problem {
    /// It cannot be a tool; others can.
    Skipped(String),
    Invalid(String),
}

impl From<String> for Problem {
    fn from(reason: String) -> Self {
        Self::Invalid(reason)
    }
}

struct Reader<'a> {
    document: &'a Value,
    names: BTreeSet<String>,
    parts: usize,
    skipped: Vec<String>,
}

impl<'a> Reader<'a> {
    fn operation(
        &mut self,
        path: &str,
        method: &Method,
        item: &'a Value,
        operation: &'a Value,
    ) -> Result<Operation, Problem> {
        let mut expansion = Expansion::new(self.document);
        let mut parameters = self.parameters(item, operation)?;
        let mut properties = Map::new();
        let mut required = Vec::new();
        let body = self.body(operation)?;
        name_arguments(&mut parameters, body.is_some());
        for (parameter, source) in &parameters {
            let (schema, about) = (parameter_schema(source), source.get("description"));
            let mut schema = expansion.whole(schema.unwrap_or(&Value::Bool(true)), 0)?;
            if schema == Value::Bool(true) {
                schema = json!({});
            }
            if let (Value::Object(schema), Some(about)) = (&mut schema, about.and_then(Value::as_str)) {
                schema.insert("description".into(), described(about).into());
            }
            properties.insert(parameter.argument.clone(), schema);
            if parameter.is_required {
                required.push(parameter.argument.clone());
            }
        }
        let parameters: Vec<Parameter> = parameters.into_iter().map(|(parameter, _)| parameter).collect();
        check_template(path, &parameters)?;
        let body = match body {
            None => None,
            Some((body, schema)) => {
                properties.insert(BODY.into(), expansion.whole(schema, 0)?);
                if body.is_required {
                    required.push(BODY.into());
                }
                Some(body)
            }
        };
        self.parts += expansion.parts();
        let name = self.name(path, method, operation.get("operationId").and_then(Value::as_str));
        let mut input = json!({"type": "object", "properties": properties, "additionalProperties": false});
        if !required.is_empty() {
            input["required"] = json!(required);
        }
        let text = |name: &str| operation.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let description = match (text("summary"), text("description")) {
            (Some(summary), Some(description)) if summary != description => format!("{summary}\n\n{description}"),
            (Some(one), _) | (None, Some(one)) => one.to_owned(),
            (None, None) => format!("{method} {path}"),
        };
        let mut tool = json!({"name": name, "description": described(&description), "inputSchema": input});
        if *method == Method::GET {
            tool["annotations"] = json!({"readOnlyHint": true});
        } else {
            let is_idempotent = *method == Method::PUT || *method == Method::DELETE;
            tool["annotations"] = json!({"readOnlyHint": false, "idempotentHint": is_idempotent});
        }
        Ok(Operation { name, method: method.clone(), path: path.to_owned(), parameters, body, tool })
    }

    /// Those of the path and of the operation, which takes the place of one with its name and place.
    fn parameters(&self, item: &'a Value, operation: &'a Value) -> Result<Vec<(Parameter, &'a Value)>, Problem> {
        let mut all: Vec<(Parameter, &Value)> = Vec::new();
        for source in [item, operation] {
            for raw in source.get("parameters").and_then(Value::as_array).into_iter().flatten() {
                let raw = resolve(self.document, raw)?;
                let Some(parameter) = Parameter::read(raw)? else { continue };
                let same = |(p, _): &(Parameter, &Value)| p.name == parameter.name && p.place == parameter.place;
                match all.iter().position(same) {
                    Some(at) => {
                        if let Some(slot) = all.get_mut(at) {
                            *slot = (parameter, raw);
                        }
                    }
                    None => all.push((parameter, raw)),
                }
            }
        }
        Ok(all)
    }

    /// The JSON body that the operation takes, with its schema.
    fn body(&self, operation: &'a Value) -> Result<Option<(RequestBody, &'a Value)>, Problem> {
        const ANYTHING: &Value = &Value::Bool(true);
        let Some(body) = operation.get("requestBody") else { return Ok(None) };
        let body = resolve(self.document, body)?;
        let is_required = body.get("required") == Some(&Value::Bool(true));
        let content = body.get("content").and_then(Value::as_object);
        let is_json = |kind: &str| {
            let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
        };
        let found = content.into_iter().flatten().find(|(kind, _)| is_json(kind));
        match found {
            Some((kind, media)) if kind.len() <= NAME_BYTES && http::HeaderValue::from_str(kind).is_ok() => {
                let body = RequestBody { content_type: kind.clone(), is_required };
                Ok(Some((body, media.get("schema").unwrap_or(ANYTHING))))
            }
            _ if is_required => Err(Problem::Skipped("its body is not JSON".into())),
            _ => Ok(None),
        }
    }

    /// A name that no other tool has.
    fn name(&mut self, path: &str, method: &Method, id: Option<&str>) -> String {
        let wanted = match id {
            Some(id) if !id.is_empty() => id.to_owned(),
            _ => format!("{}{path}", method.as_str().to_ascii_lowercase()),
        };
        let allowed = |c: char| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' };
        let clean: String = wanted.chars().map(allowed).collect();
        let clean = clean.trim_matches('_');
        let clean: String = (if clean.is_empty() { "operation" } else { clean }).chars().take(NAME).collect();
        let mut name = clean.clone();
        let mut number = 2;
        while !self.names.insert(name.clone()) {
            let suffix = format!("_{number}");
            name = clean.chars().take(NAME - suffix.len()).collect::<String>() + &suffix;
            number += 1;
        }
        name
    }
}

/// Each parameter is an argument of its own name, where no other one has it; else its place is put before it.
fn name_arguments(parameters: &mut [(Parameter, &Value)], has_body: bool) {
    let names: Vec<String> = parameters.iter().map(|(parameter, _)| parameter.name.clone()).collect();
    for (parameter, _) in parameters {
        let is_taken =
            (has_body && parameter.name == BODY) || names.iter().filter(|n| **n == parameter.name).count() > 1;
        if is_taken {
            parameter.argument = format!("{}_{}", parameter.place.as_str(), parameter.name);
        }
    }
}

fn parameter_schema(source: &Value) -> Option<&Value> {
    let content = || source.get("content")?.as_object()?.values().next()?.get("schema");
    source.get("schema").or_else(content)
}

/// What stands in braces must be a parameter of the path.
fn check_template(path: &str, parameters: &[Parameter]) -> Result<(), String> {
    let mut rest = path;
    while let Some((_, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("\"{\" without \"}\" in the path")?;
        if !parameters.iter().any(|p| p.place == Place::Path && p.name == name) {
            return Err(format!("{{{name}}} in the path is no parameter"));
        }
        rest = after;
    }
    Ok(())
}
