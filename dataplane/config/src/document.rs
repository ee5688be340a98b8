//! A YAML document as a JSON value that remembers where each field was written.

use std::collections::HashMap;

use agentgateway_types::Path;
use agentgateway_types::path::Segment;
use agentgateway_types::strict::pointer;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use serde_json::{Map, Number, Value};

use crate::error::Problem;

/// Deeper documents are refused: no configuration is, and readers of trees recurse.
const MAX_DEPTH: usize = 64;
/// Values in a document, those that aliases repeat counted each time.
const MAX_VALUES: usize = 1_000_000;

/// Line and column, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Position {
    line: usize,
    column: usize,
}

impl From<Span> for Position {
    fn from(span: Span) -> Self {
        Position { line: span.start.line(), column: span.start.col() + 1 }
    }
}

/// A parsed document.
#[derive(Debug)]
pub(crate) struct Document {
    file: String,
    pub(crate) value: Value,
    /// By JSON pointer: of members the key, of list items the item.
    positions: HashMap<String, Position>,
}

/// A list or mapping that is not closed yet.
struct Open {
    container: Container,
    anchor: usize,
    start: Position,
}

enum Container {
    List(Vec<Value>),
    Mapping { members: Map<String, Value>, key: Option<String> },
}

struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Value>,
    positions: HashMap<String, Position>,
    /// Pointer of what is being read.
    at: Vec<String>,
    values: usize,
    root: Option<Value>,
}

type Fault = (Position, String);

impl Document {
    pub(crate) fn parse(file: &str, text: &str) -> Result<Document, Problem> {
        let problem = |(position, reason): Fault| Problem {
            file: file.to_owned(),
            line: position.line,
            column: position.column,
            path: String::new(),
            reason,
        };
        let mut builder = Builder {
            open: Vec::new(),
            anchors: HashMap::new(),
            positions: HashMap::new(),
            at: Vec::new(),
            values: 0,
            root: None,
        };
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|e| problem(not_yaml(&e)))?;
            builder.event(event, span.into()).map_err(problem)?;
        }
        match builder.root {
            Some(value) if !value.is_null() => {
                Ok(Document { file: file.to_owned(), value, positions: builder.positions })
            }
            _ => Err(problem((Position { line: 1, column: 1 }, "the file is empty".to_owned()))),
        }
    }

    /// A problem at the field, or at the nearest one around it that is written down.
    pub(crate) fn problem(&self, path: &Path, reason: String) -> Problem {
        let mut place = pointer(path);
        let position = loop {
            if let Some(position) = self.positions.get(&place) {
                break *position;
            }
            match place.rfind('/') {
                Some(end) => place.truncate(end),
                None => break Position { line: 1, column: 1 },
            }
        };
        let Position { line, column } = position;
        Problem { file: self.file.clone(), line, column, path: path.to_string(), reason }
    }

    /// The text of an unknown field's error, with the fields that are known there.
    pub(crate) fn unknown_field(&self, path: &Path) -> String {
        let known = known_fields(path);
        if known.is_empty() {
            return "unknown field".to_owned();
        }
        format!("unknown field; known here: {}", known.join(", "))
    }
}

/// Names of the fields beside `path`, from the schema.
fn known_fields(path: &Path) -> Vec<String> {
    let root = crate::schema();
    let mut at = &root;
    let parents = path.segments().split_last().map_or(&[][..], |(_, parents)| parents);
    for segment in parents {
        at = resolve(&root, at);
        let next = match segment {
            Segment::Key(key) => at.get("properties").and_then(|p| p.get(key)),
            Segment::Index(_) => at.get("items"),
        };
        let Some(next) = next else { return Vec::new() };
        at = next;
    }
    let properties = resolve(&root, at).get("properties").and_then(Value::as_object);
    properties.map(|p| p.keys().cloned().collect()).unwrap_or_default()
}

/// Follows a reference, and the one alternative of an optional field that is not null.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut at = schema;
    for _ in 0..8 {
        let next = at.get("$ref").and_then(Value::as_str).and_then(|r| root.pointer(r.trim_start_matches('#'))).or_else(|| {
            let all = at.get("anyOf").and_then(Value::as_array)?;
            all.iter().find(|s| s.get("type").and_then(Value::as_str) != Some("null"))
        });
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    at
}

fn not_yaml(error: &ScanError) -> Fault {
    let position = Position { line: error.marker().line(), column: error.marker().col() + 1 };
    (position, format!("not YAML: {}", error.info()))
}

impl Builder {
    fn event(&mut self, event: Event<'_>, position: Position) -> Result<(), Fault> {
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                Err((position, "a second document begins; the file must hold one".to_owned()))
            }
            Event::Scalar(text, style, anchor, _tag) => {
                if self.take_key(&text, position)? {
                    return Ok(());
                }
                let value = if style == ScalarStyle::Plain { plain(&text) } else { Value::String(text.into_owned()) };
                self.place(value, anchor, position, 1)
            }
            Event::SequenceStart(anchor, _) => self.begin(Container::List(Vec::new()), anchor, position),
            Event::MappingStart(anchor, _) => {
                self.begin(Container::Mapping { members: Map::new(), key: None }, anchor, position)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let value = match open.container {
                    Container::List(items) => Value::Array(items),
                    Container::Mapping { members, .. } => Value::Object(members),
                };
                self.place(value, open.anchor, open.start, 1)
            }
            Event::Alias(anchor) => {
                let Some(value) = self.anchors.get(&anchor).cloned() else {
                    return Err((position, "an alias of something that is not complete".to_owned()));
                };
                let size = count(&value);
                self.place(value, 0, position, size)
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, container: Container, anchor: usize, start: Position) -> Result<(), Fault> {
        if matches!(self.open.last(), Some(Open { container: Container::Mapping { key: None, .. }, .. })) {
            return Err((start, "a key must be a plain word".to_owned()));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err((start, format!("more than {MAX_DEPTH} levels deep")));
        }
        self.enter(start);
        self.open.push(Open { container, anchor, start });
        Ok(())
    }

    /// Takes a scalar as the next key of a mapping, if one is due.
    fn take_key(&mut self, text: &str, position: Position) -> Result<bool, Fault> {
        let Some(Open { container: Container::Mapping { members, key }, .. }) = self.open.last_mut() else {
            return Ok(false);
        };
        if key.is_some() {
            return Ok(false);
        }
        if members.contains_key(text) {
            return Err((position, format!("key {text:?} is there twice")));
        }
        *key = Some(text.to_owned());
        self.positions.insert(format!("{}/{}", self.at.concat(), escape(text)), position);
        Ok(true)
    }

    /// Notes where a value begins, and goes into it.
    fn enter(&mut self, position: Position) {
        match self.open.last() {
            Some(Open { container: Container::List(items), .. }) => {
                let step = format!("/{}", items.len());
                self.positions.insert(self.at.concat() + &step, position);
                self.at.push(step);
            }
            Some(Open { container: Container::Mapping { key: Some(key), .. }, .. }) => {
                self.at.push(format!("/{}", escape(key)));
            }
            _ => {}
        }
    }

    /// Puts a complete value where it belongs.
    fn place(&mut self, value: Value, anchor: usize, position: Position, size: usize) -> Result<(), Fault> {
        self.values += size;
        if self.values > MAX_VALUES {
            return Err((position, format!("more than {MAX_VALUES} values")));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        let container = matches!(value, Value::Array(_) | Value::Object(_));
        match self.open.last_mut().map(|o| &mut o.container) {
            None => self.root = Some(value),
            Some(Container::List(items)) => {
                let pointer = format!("{}/{}", parent(&self.at, container), items.len());
                self.positions.entry(pointer).or_insert(position);
                items.push(value);
            }
            Some(Container::Mapping { members, key }) => match key.take() {
                Some(key) => {
                    members.insert(key, value);
                }
                None => return Err((position, "a key must be a plain word".to_owned())),
            },
        }
        if container {
            self.at.pop();
        }
        Ok(())
    }
}

/// Pointer of the list that an item belongs to; a container item has its own step on the stack.
fn parent(at: &[String], container: bool) -> String {
    let depth = if container { at.len().saturating_sub(1) } else { at.len() };
    at.get(..depth).unwrap_or_default().concat()
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

/// A plain scalar by YAML 1.2's core schema (§10.3.2).
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let number = text.strip_prefix('+').unwrap_or(text);
    let digits = number.strip_prefix('-').unwrap_or(number);
    if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        if let Some(hex) = digits.strip_prefix("0x")
            && let Ok(value) = i64::from_str_radix(hex, 16)
        {
            return value.into();
        }
        if let Ok(value) = number.parse::<i64>() {
            return value.into();
        }
        let is_float = digits.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
        if is_float
            && let Ok(value) = number.parse::<f64>()
            && let Some(value) = Number::from_f64(value)
        {
            return Value::Number(value);
        }
    }
    Value::String(text.to_owned())
}
