//! YAML 1.2 as a tree in which every node knows its place.
//!
//! Aliases are copied where they are used, within a bound; keys are plain text and appear once; tags other than `!!str` and
//! documents after the first are refused.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use agentgateway_types::{Path, Segment};

use crate::limits::{MAX_DEPTH, MAX_NODES};

/// A place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// From 1.
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
}

impl From<Marker> for Position {
    fn from(marker: Marker) -> Position {
        Position { line: marker.line().max(1), column: marker.col() + 1 }
    }
}

/// Text that is no document.
#[derive(Debug)]
pub(crate) struct Malformed {
    pub(crate) position: Position,
    pub(crate) message: String,
}

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) position: Position,
    pub(crate) value: Value,
    /// Nodes in it, itself included.
    size: usize,
    /// Levels below it.
    height: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar {
        text: String,
        /// Not in quotes, so that it may be a number, a boolean or null.
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) position: Position,
    pub(crate) value: Node,
}

impl Node {
    fn leaf(position: Position, text: String, plain: bool) -> Node {
        Node { position, value: Value::Scalar { text, plain }, size: 1, height: 0 }
    }

    /// The deepest node on the way of `path` that exists, and for a member the place of its key.
    pub(crate) fn locate(&self, path: &Path) -> (Position, Position) {
        let (mut node, mut key) = (self, self.position);
        for segment in path.segments() {
            let next = match (&node.value, segment) {
                (Value::Map(entries), Segment::Key(name)) => {
                    entries.iter().find(|e| e.key == *name).map(|e| (&e.value, e.position))
                }
                (Value::List(items), Segment::Index(index)) => items.get(*index).map(|n| (n, n.position)),
                _ => None,
            };
            let Some((child, position)) = next else { break };
            (node, key) = (child, position);
        }
        (node.position, key)
    }
}

/// A list or a map whose end has not come.
struct Open {
    anchor: usize,
    position: Position,
    contents: Contents,
    size: usize,
    height: usize,
}

enum Contents {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, seen: HashMap<String, Position>, key: Option<(String, Position)> },
}

/// Parses the one document of `text`. An empty one is refused: it is what a file holds while an editor writes it.
pub(crate) fn parse(text: &str) -> Result<Node, Malformed> {
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder::default();
    while let Some(event) = parser.next_event() {
        let (event, span) = event
            .map_err(|e| Malformed { position: (*e.marker()).into(), message: format!("not YAML: {}", e.info()) })?;
        builder.event(event, span.start.into())?;
    }
    match builder.root {
        Some(root) if !matches!(&root.value, Value::Scalar { text, plain: true } if text.is_empty()) => Ok(root),
        _ => Err(Malformed { position: Position { line: 1, column: 1 }, message: "the file is empty".into() }),
    }
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, position: Position) -> Result<(), Malformed> {
        let fail = |message: &str| Err(Malformed { position, message: message.to_owned() });
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 { fail("a second document; a configuration is one document") } else { Ok(()) }
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => {
                    let node = Node { position, ..node.clone() };
                    self.nodes += node.size;
                    self.complete(node, 0)
                }
                None => fail("an alias of something that contains it"),
            },
            Event::Scalar(text, style, anchor, tag) => {
                let string = check_tag(tag.as_ref(), position)?;
                let plain = style == ScalarStyle::Plain && !string;
                self.nodes += 1;
                self.complete(Node::leaf(position, text.into_owned(), plain), anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_ref(), position)?;
                self.start(anchor, position, Contents::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_ref(), position)?;
                self.start(anchor, position, Contents::Map { entries: Vec::new(), seen: HashMap::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return fail("an end without a beginning") };
                let value = match open.contents {
                    Contents::List(items) => Value::List(items),
                    Contents::Map { entries, .. } => Value::Map(entries),
                };
                let node = Node { position: open.position, value, size: open.size, height: open.height };
                self.nodes += 1;
                self.complete(node, open.anchor)
            }
        }
    }

    fn start(&mut self, anchor: usize, position: Position, contents: Contents) -> Result<(), Malformed> {
        if let Some(Open { contents: Contents::Map { key: None, .. }, .. }) = self.open.last() {
            return Err(Malformed { position, message: "a key must be plain text".into() });
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Malformed { position, message: format!("nested deeper than {MAX_DEPTH} levels") });
        }
        self.open.push(Open { anchor, position, contents, size: 1, height: 0 });
        Ok(())
    }

    /// Puts a finished node where it belongs.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Malformed> {
        let position = node.position;
        let fail = |message: String| Err(Malformed { position, message });
        if self.nodes > MAX_NODES {
            return fail(format!("more than {MAX_NODES} values, counting what aliases repeat"));
        }
        if self.open.len() + node.height >= MAX_DEPTH {
            return fail(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            self.root.get_or_insert(node);
            return Ok(());
        };
        parent.size += node.size;
        parent.height = parent.height.max(node.height + 1);
        match &mut parent.contents {
            Contents::List(items) => items.push(node),
            Contents::Map { entries, seen, key } => match key.take() {
                Some((name, at)) => entries.push(Entry { key: name, position: at, value: node }),
                None => {
                    let Value::Scalar { text, .. } = node.value else { return fail("a key must be plain text".into()) };
                    if text == "<<" {
                        return fail(
                            "merge keys (<<) are not part of YAML 1.2; repeat the fields, or alias a whole value"
                                .into(),
                        );
                    }
                    if let Some(first) = seen.insert(text.clone(), position) {
                        return fail(format!("{text:?} is already set in line {}", first.line));
                    }
                    *key = Some((text, position));
                }
            },
        }
        Ok(())
    }
}

/// Whether the tag makes the node a string.
fn check_tag(tag: Option<&Cow<'_, Tag>>, position: Position) -> Result<bool, Malformed> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(true),
        Some(tag) => {
            Err(Malformed { position, message: format!("the tag {}{} has no meaning here", tag.handle, tag.suffix) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        let error = parse(text).map(|_| ()).expect_err("must not parse");
        format!("{}:{}: {}", error.position.line, error.position.column, error.message)
    }

    #[test]
    fn nodes_know_their_places() {
        let tree = parse("a:\n  - b: 1\n    c: [x,  y]\n").expect("parses");
        let (value, key) = tree.locate(&Path::of("a").index(0).key("c").index(1));
        assert_eq!((value, key), (Position { line: 3, column: 13 }, Position { line: 3, column: 13 }));
        let (value, key) = tree.locate(&Path::of("a").index(0).key("c"));
        assert_eq!((value, key), (Position { line: 3, column: 8 }, Position { line: 3, column: 5 }));
        assert_eq!(tree.locate(&Path::of("a.nothing.here")).1, Position { line: 1, column: 1 });
    }

    #[test]
    fn aliases_are_copies_within_bounds() {
        let tree = parse("a: &x [1, 2]\nb: *x\n").expect("parses");
        let Value::Map(entries) = &tree.value else { panic!("a map") };
        assert!(matches!(&entries[1].value.value, Value::List(items) if items.len() == 2));
        let mut bomb = String::from("a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n");
        for i in 1..10 {
            let list = vec![format!("*a{}", i - 1); 10].join(", ");
            bomb.push_str(&format!("a{i}: &a{i} [{list}]\n"));
        }
        assert!(message(&bomb).contains("more than 500000 values"));
        let mut deep = String::from("a0: &a0 [1]\n");
        for i in 1..100 {
            deep.push_str(&format!("a{i}: &a{i} [*a{}]\n", i - 1));
        }
        assert!(message(&deep).contains("nested deeper than 64 levels"));
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (text, expected) in [
            ("a: 1\nb: 2\na: 3\n", "3:1: \"a\" is already set in line 1"),
            ("a: 1\n---\nb: 2\n", "2:1: a second document; a configuration is one document"),
            ("[a]: 1\n", "1:1: a key must be plain text"),
            ("a: !!binary x\n", "1:4: the tag tag:yaml.org,2002:binary has no meaning here"),
            ("a: &x [*x]\n", "1:8: an alias of something that contains it"),
            (
                "x: &x {a: 1}\ny:\n  <<: *x\n",
                "3:3: merge keys (<<) are not part of YAML 1.2; repeat the fields, or alias a whole value",
            ),
        ] {
            assert_eq!(message(text), expected, "{text}");
        }
        assert!(message(&"[".repeat(100)).contains("nested deeper"));
        assert!(message("a: b: c\n").contains("not YAML"));
        assert!(message("a: [1\n").contains("not YAML"));
        assert!(message("a: *nothing\n").contains("not YAML"));
    }

    #[test]
    fn an_empty_document_is_an_error() {
        for text in ["", "\n", "# a comment\n", "---\n"] {
            assert_eq!(message(text), "1:1: the file is empty", "{text:?}");
        }
    }
}
