//! JSON schemas of a document, each whole in itself: references are replaced by what they refer to, and what OpenAPI 3.0 has
//! of its own is said in JSON Schema.

use serde_json::{Map, Value, json};

use crate::{PART_BYTES, REFERENCES, SCHEMA_DEPTH, SCHEMA_PARTS};

/// Members whose values are schemas by name.
const NAMED: [&str; 5] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];
/// Members whose values are data.
const DATA: [&str; 3] = ["default", "enum", "const"];
/// Members that say nothing to a client of a tool.
const LEFT_OUT: [&str; 9] =
    ["xml", "externalDocs", "discriminator", "example", "examples", "$id", "$anchor", "$schema", "$dynamicAnchor"];

/// Follows references until something else is there.
pub(crate) fn resolve<'a>(document: &'a Value, mut value: &'a Value) -> Result<&'a Value, String> {
    for _ in 0..REFERENCES {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return Ok(value) };
        value = lookup(document, reference)?;
    }
    Err(format!("more than {REFERENCES} references lead to one another"))
}

fn lookup<'a>(document: &'a Value, reference: &str) -> Result<&'a Value, String> {
    let pointer = reference
        .strip_prefix('#')
        .ok_or_else(|| format!("{reference:?} is not in this document; only such are followed"))?;
    let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8_lossy();
    document.pointer(&pointer).ok_or_else(|| format!("{reference:?} leads nowhere"))
}

/// Makes schemas whole.
pub(crate) struct Expansion<'a> {
    document: &'a Value,
    /// References that are being replaced.
    open: Vec<&'a str>,
    parts: usize,
}

impl<'a> Expansion<'a> {
    pub(crate) fn new(document: &'a Value) -> Self {
        Self { document, open: Vec::new(), parts: 0 }
    }

    /// Parts that were written.
    pub(crate) fn parts(&self) -> usize {
        self.parts
    }

    /// A schema without references. Where it contains itself, and where it is too large, it is left open: anything fits.
    pub(crate) fn whole(&mut self, schema: &'a Value, depth: usize) -> Result<Value, String> {
        self.parts += 1;
        if depth > SCHEMA_DEPTH || self.parts > SCHEMA_PARTS {
            return Ok(json!({}));
        }
        let Value::Object(members) = schema else {
            self.parts += size(schema);
            return Ok(schema.clone());
        };
        if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
            if self.open.contains(&reference) {
                return Ok(json!({}));
            }
            let target = lookup(self.document, reference)?;
            self.open.push(reference);
            let whole = self.whole(target, depth + 1);
            self.open.pop();
            let mut whole = whole?;
            // 3.1 allows members beside a reference; a description there is about this use.
            if let (Value::Object(whole), Some(about)) = (&mut whole, members.get("description")) {
                self.parts += size(about);
                whole.insert("description".into(), about.clone());
            }
            return Ok(whole);
        }
        let mut out = Map::new();
        for (name, value) in members {
            self.parts += name.len() / PART_BYTES;
            if LEFT_OUT.contains(&name.as_str()) || name.starts_with("x-") || name == "nullable" {
                continue;
            }
            let value = match value {
                _ if DATA.contains(&name.as_str()) => {
                    self.parts += size(value);
                    value.clone()
                }
                Value::Object(named) if NAMED.contains(&name.as_str()) => {
                    let mut all = Map::new();
                    for (name, schema) in named {
                        self.parts += name.len() / PART_BYTES;
                        all.insert(name.clone(), self.whole(schema, depth + 1)?);
                    }
                    Value::Object(all)
                }
                Value::Object(_) => self.whole(value, depth + 1)?,
                Value::Array(items) => {
                    Value::Array(items.iter().map(|item| self.whole(item, depth + 1)).collect::<Result<_, _>>()?)
                }
                other => {
                    self.parts += size(other);
                    other.clone()
                }
            };
            out.insert(name.clone(), value);
        }
        modernise(&mut out, members.get("nullable") == Some(&Value::Bool(true)));
        Ok(Value::Object(out))
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(members) => 1 + members.iter().map(|(name, v)| name.len() / PART_BYTES + size(v)).sum::<usize>(),
        Value::String(text) => 1 + text.len() / PART_BYTES,
        _ => 1,
    }
}

/// What 3.0 writes in its own way.
fn modernise(schema: &mut Map<String, Value>, is_nullable: bool) {
    for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        match schema.get(exclusive) {
            Some(Value::Bool(true)) => {
                let value = schema.remove(bound);
                schema.remove(exclusive);
                if let Some(value) = value {
                    schema.insert(exclusive.into(), value);
                }
            }
            Some(Value::Bool(false)) => drop(schema.remove(exclusive)),
            _ => {}
        }
    }
    if !is_nullable {
        return;
    }
    if let Some(Value::Array(allowed)) = schema.get_mut("enum")
        && !allowed.contains(&Value::Null)
    {
        allowed.push(Value::Null);
    }
    match schema.get("type").cloned() {
        Some(Value::String(one)) => drop(schema.insert("type".into(), json!([one, "null"]))),
        None if !schema.is_empty() => {
            let own = Value::Object(std::mem::take(schema));
            schema.insert("anyOf".into(), json!([own, {"type": "null"}]));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(document: &Value, pointer: &str) -> Result<Value, String> {
        Expansion::new(document).whole(document.pointer(pointer).unwrap(), 0)
    }

    #[test]
    fn references_and_cycles() {
        let document = json!({
            "a": {"type": "object", "properties": {"$ref": {"type": "string"}, "next": {"$ref": "#/a"}, "b": {"$ref": "#/b~1c"}}},
            "b/c": {"type": "integer", "example": 1, "x-own": 2},
            "loop": {"$ref": "#/loop"},
            "outside": {"$ref": "other.json#/a"},
        });
        let node = json!({"type": "object", "properties": {
            "$ref": {"type": "string"}, "next": {}, "b": {"type": "integer"}}});
        let mut outer = node.clone();
        outer["properties"]["next"] = node;
        assert_eq!(whole(&document, "/a").unwrap(), outer);
        assert_eq!(whole(&document, "/loop").unwrap(), json!({}));
        assert!(whole(&document, "/outside").unwrap_err().contains("other.json"));
        assert!(resolve(&document, &document["loop"]).is_err());
    }

    #[test]
    fn no_schema_grows_without_a_bound() {
        // Each level has the next one ten times.
        let mut document = json!({"s9": {"type": "string"}});
        for level in 0..9 {
            let next = json!({"$ref": format!("#/s{}", level + 1)});
            let all: Map<String, Value> = (0..10).map(|n| (format!("p{n}"), next.clone())).collect();
            document[format!("s{level}")] = json!({"type": "object", "properties": all});
        }
        let mut expansion = Expansion::new(&document);
        let schema = expansion.whole(&document["s0"], 0).unwrap();
        assert!(size(&schema) < 100_000, "{}", size(&schema));
        // One long text, referred to many times.
        let long = json!({"type": "string", "description": "x".repeat(100_000)});
        let all: Map<String, Value> = (0..1_000).map(|n| (format!("p{n}"), json!({"$ref": "#/long"}))).collect();
        let document = json!({"long": long, "all": {"type": "object", "properties": all}});
        let schema = Expansion::new(&document).whole(&document["all"], 0).unwrap();
        assert!(schema.to_string().len() < 1_000_000, "{}", schema.to_string().len());
    }

    #[test]
    fn what_3_0_writes_otherwise() {
        let document = json!({
            "a": {"type": "integer", "nullable": true, "minimum": 1, "exclusiveMinimum": true, "maximum": 3, "exclusiveMaximum": false},
            "b": {"nullable": true, "enum": ["x"]},
        });
        assert_eq!(
            whole(&document, "/a").unwrap(),
            json!({"type": ["integer", "null"], "exclusiveMinimum": 1, "maximum": 3})
        );
        assert_eq!(whole(&document, "/b").unwrap(), json!({"anyOf": [{"enum": ["x", null]}, {"type": "null"}]}));
    }
}
