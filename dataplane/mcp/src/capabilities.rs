//! What a target can do, and what a federation of them can: the union of the targets' capabilities, as far as the
//! gateway can carry them for several targets at once.

use serde_json::{Map, Value, json};

use crate::modern::translate::Caching;
use crate::protocol::{Method, Version, meta};

/// Capabilities that decide which targets a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Features(pub(crate) u16);

impl Features {
    pub(crate) const TOOLS: Self = Self(1);
    pub(crate) const PROMPTS: Self = Self(1 << 1);
    pub(crate) const RESOURCES: Self = Self(1 << 2);
    pub(crate) const SUBSCRIBE: Self = Self(1 << 3);
    pub(crate) const COMPLETIONS: Self = Self(1 << 4);
    pub(crate) const LOGGING: Self = Self(1 << 5);
    const NAMES: [(Self, &'static str); 5] = [
        (Self::TOOLS, "tools"),
        (Self::PROMPTS, "prompts"),
        (Self::RESOURCES, "resources"),
        (Self::COMPLETIONS, "completions"),
        (Self::LOGGING, "logging"),
    ];

    pub(crate) fn of(capabilities: &Value, version: Version) -> Self {
        let mut bits = 0;
        for (feature, name) in Self::NAMES {
            if capabilities.get(name).is_some_and(Value::is_object) {
                bits |= feature.0;
            }
        }
        if capabilities.pointer("/resources/subscribe") == Some(&Value::Bool(true)) {
            bits |= Self::SUBSCRIBE.0;
        }
        // Before 2025-03-26 there was no capability to announce completions with.
        if version == Version::V2024_11_05 {
            bits |= Self::COMPLETIONS.0;
        }
        Self(bits)
    }

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What a target must have for a method that goes to all that have it.
    pub(crate) fn needed(method: Method) -> Self {
        match method {
            Method::ToolsList => Self::TOOLS,
            Method::PromptsList => Self::PROMPTS,
            Method::ResourcesList | Method::ResourceTemplatesList => Self::RESOURCES,
            Method::SetLevel => Self::LOGGING,
            _ => Self(0),
        }
    }
}

/// For how many milliseconds a handshake is taken to hold that says nothing of it.
const KNOWN_FOR: u64 = 60_000;

/// The result of a target's handshake.
#[derive(Debug, Clone)]
pub(crate) struct Handshake {
    pub(crate) version: Version,
    pub(crate) features: Features,
    /// The whole result of `initialize`, as the target wrote it; that of `server/discover` is written as one.
    pub(crate) text: Box<str>,
    /// For how long it holds.
    pub(crate) caching: Caching,
}

impl Handshake {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let result: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let version = result.get("protocolVersion").and_then(Value::as_str).unwrap_or_default();
        let Some(version) = Version::parse_handshake(version) else {
            return Err(format!("it speaks protocol version \"{version}\", which is none of those known here"));
        };
        let capabilities = result.get("capabilities").unwrap_or(&Value::Null);
        let caching = Caching { ttl: KNOWN_FOR, is_public: false };
        Ok(Self { version, features: Features::of(capabilities, version), text: text.into(), caching })
    }

    /// From the result of `server/discover`, as the result of `initialize` that a client with `version` gets.
    pub(crate) fn discovered(text: &str, version: Version) -> Result<Self, String> {
        let mut result: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let own = Version::MODERN.as_str();
        let versions = result.get("supportedVersions").and_then(Value::as_array);
        if !versions.is_some_and(|all| all.iter().any(|v| v == own)) {
            return Err(format!("it does not speak protocol version \"{own}\""));
        }
        let capabilities = result.get("capabilities").cloned().unwrap_or_else(|| json!({}));
        let features = Features::of(&capabilities, Version::MODERN);
        let server = result.get_mut("_meta").and_then(|m| m.get_mut(meta::SERVER)).map(Value::take);
        let server = server.unwrap_or_else(|| json!({"name": "unknown", "version": "unknown"}));
        let mut all = json!({"protocolVersion": version.as_str(), "capabilities": capabilities, "serverInfo": server});
        if let Some(instructions) = result.get("instructions").and_then(Value::as_str) {
            all["instructions"] = instructions.into();
        }
        let caching = Caching::of(text);
        Ok(Self { version: Version::MODERN, features, text: all.to_string().into(), caching })
    }
}

/// The `initialize` result of a federation. `handshakes` are those of the targets that have answered, by name; with
/// `incomplete`, others are still starting and are taken to have everything.
pub(crate) fn merge(version: Version, handshakes: &[(&str, Handshake)], incomplete: bool) -> Value {
    let mut capabilities = Map::new();
    let mut instructions = Vec::new();
    for (target, handshake) in handshakes {
        let Ok(result) = serde_json::from_str::<Value>(&handshake.text) else { continue };
        if let Some(Value::Object(own)) = result.get("capabilities") {
            merge_into(&mut capabilities, own);
        }
        if let Some(text) = result.get("instructions").and_then(Value::as_str) {
            instructions.push(format!("{target}: {text}"));
        }
    }
    if incomplete {
        let all = json!({
            "tools": {"listChanged": true},
            "prompts": {"listChanged": true},
            "resources": {"listChanged": true, "subscribe": true},
            "completions": {},
            "logging": {},
        });
        if let Value::Object(all) = all {
            merge_into(&mut capabilities, &all);
        }
    }
    // A target that starts late or comes back with other items makes lists change, whatever the targets say of
    // themselves.
    for name in ["tools", "prompts", "resources"] {
        if let Some(Value::Object(own)) = capabilities.get_mut(name) {
            own.insert("listChanged".into(), Value::Bool(true));
        }
    }
    let mut result = json!({
        "protocolVersion": version.as_str(),
        "capabilities": capabilities,
        "serverInfo": {"name": "agentgateway", "version": env!("CARGO_PKG_VERSION")},
    });
    if !instructions.is_empty() {
        result["instructions"] = Value::String(instructions.join("\n\n"));
    }
    result
}

/// The union, of what the gateway carries for several targets: an unknown capability of one target could not be told
/// apart from another's.
fn merge_into(all: &mut Map<String, Value>, own: &Map<String, Value>) {
    for (_, name) in Features::NAMES {
        let Some(Value::Object(own)) = own.get(name) else { continue };
        let entry = all.entry(name).or_insert_with(|| json!({}));
        for (key, value) in own {
            if value == &Value::Bool(true) && matches!(key.as_str(), "listChanged" | "subscribe") {
                entry[key] = Value::Bool(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake(capabilities: Value) -> Handshake {
        let result = json!({"protocolVersion": "2025-06-18", "capabilities": capabilities, "instructions": "be kind"});
        Handshake::parse(&result.to_string()).unwrap()
    }

    #[test]
    fn features() {
        let one = handshake(json!({"tools": {}, "resources": {"subscribe": true}}));
        assert!(one.features.has(Features::TOOLS));
        assert!(one.features.has(Features::SUBSCRIBE));
        assert!(!one.features.has(Features::PROMPTS));
        assert!(Handshake::parse(r#"{"protocolVersion":"1999-01-01"}"#).is_err());
        assert!(Handshake::parse("7").is_err());
    }

    #[test]
    fn union() {
        let handshakes = [
            ("a", handshake(json!({"tools": {}, "tasks": {}}))),
            ("b", handshake(json!({"resources": {"subscribe": true}}))),
        ];
        let merged = merge(Version::V2025_06_18, &handshakes, false);
        assert_eq!(
            merged["capabilities"],
            json!({"tools": {"listChanged": true}, "resources": {"listChanged": true, "subscribe": true}})
        );
        assert_eq!(merged["instructions"], "a: be kind\n\nb: be kind");
        assert_eq!(merged["protocolVersion"], "2025-06-18");
    }

    #[test]
    fn targets_that_are_still_starting() {
        let merged = merge(Version::LATEST, &[("a", handshake(json!({"tools": {}})))], true);
        assert!(merged["capabilities"]["prompts"].is_object());
    }
}
