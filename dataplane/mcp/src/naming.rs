//! Names of a federation: `target_name` for tools and prompts, `target+uri` for resources.
//!
//! Both forms name their owner, so no table of items is needed to find it, any replica can, and no target can answer
//! for another's item. A target's name in front of a URI is written so that the whole stays a URI (RFC 3986 §3.1):
//! lower case letters, digits and "-" stand for themselves, any other byte is "." and two hexadecimal digits.

use agentgateway_proto::v1;
use dashmap::DashMap;

use crate::limits::OWNERS;

/// Names of the targets of one backend.
#[derive(Debug)]
pub(crate) struct Naming {
    /// Empty when there is one target: then every name is the target's own.
    targets: Vec<(String, String)>,
    /// Whose a tool or prompt is, where names say nothing of it.
    owners: Option<Owners>,
}

/// Names that lists have shown, and the place of the first target that has each.
#[derive(Debug, Default)]
struct Owners {
    tools: DashMap<Box<str>, usize>,
    prompts: DashMap<Box<str>, usize>,
}

/// What has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    Tool,
    Prompt,
}

impl Owners {
    fn of(&self, named: Named) -> &DashMap<Box<str>, usize> {
        match named {
            Named::Tool => &self.tools,
            Named::Prompt => &self.prompts,
        }
    }
}

impl Naming {
    #[cfg(test)]
    pub(crate) fn new(names: &[&str]) -> Result<Self, String> {
        Self::of(names, v1::McpPrefixMode::Unspecified)
    }

    pub(crate) fn of(names: &[&str], mode: v1::McpPrefixMode) -> Result<Self, String> {
        if names.is_empty() {
            return Err("an MCP backend needs at least one target".into());
        }
        if names.len() == 1 && mode != v1::McpPrefixMode::McpPrefixAlways {
            return Ok(Self { targets: Vec::new(), owners: None });
        }
        for (at, name) in names.iter().enumerate() {
            if name.is_empty() {
                return Err("every target of an MCP backend with several targets needs a name".into());
            }
            if names[..at].contains(name) {
                return Err(format!("two targets are named \"{name}\""));
            }
            if let Some(shorter) = names.iter().find(|n| name.starts_with(&format!("{n}_"))) {
                return Err(format!(
                    "targets \"{shorter}\" and \"{name}\": a tool named \"{name}_x\" could belong to either; rename one"
                ));
            }
        }
        let targets = names.iter().map(|n| (format!("{n}_"), format!("{}+", scheme(n)))).collect();
        let owners = (mode == v1::McpPrefixMode::McpPrefixNever).then(Owners::default);
        Ok(Self { targets, owners })
    }

    /// Whether names carry their target.
    pub(crate) fn is_federated(&self) -> bool {
        !self.targets.is_empty()
    }

    /// The federated name of a tool or prompt.
    pub(crate) fn name(&self, target: usize, own: &str) -> String {
        if self.owners.is_some() {
            return own.to_owned();
        }
        self.targets.get(target).map_or_else(|| own.to_owned(), |(prefix, _)| format!("{prefix}{own}"))
    }

    /// Whether names say nothing of their target.
    pub(crate) fn are_bare(&self) -> bool {
        self.owners.is_some()
    }

    /// Notes that a target lists a name; whether it is the one that the name stands for.
    pub(crate) fn note(&self, named: Named, target: usize, own: &str) -> bool {
        let Some(owners) = &self.owners else { return true };
        let names = owners.of(named);
        if let Some(mut known) = names.get_mut(own) {
            *known = (*known).min(target);
            return *known == target;
        }
        // Without room for it, the name cannot be called; lists have a bound of their own far below this one.
        if names.len() < OWNERS {
            names.insert(own.into(), target);
        }
        true
    }

    /// Forgets which names a target has, before it lists them anew.
    pub(crate) fn forget(&self, named: Named, target: usize) {
        if let Some(owners) = &self.owners {
            owners.of(named).retain(|_, owner| *owner != target);
        }
    }

    /// Whether targets have to be listed before it is known whose a name is.
    pub(crate) fn must_look_up(&self, named: Named, name: &str) -> bool {
        self.owners.as_ref().is_some_and(|owners| !owners.of(named).contains_key(name))
    }

    /// The target of a tool or prompt, and its name there.
    pub(crate) fn find<'a>(&self, named: Named, name: &'a str) -> Option<(usize, &'a str)> {
        match &self.owners {
            Some(owners) => Some((*owners.of(named).get(name)?, name)),
            None => self.split_name(name),
        }
    }

    /// The same, where the name says it.
    fn split_name<'a>(&self, name: &'a str) -> Option<(usize, &'a str)> {
        if !self.is_federated() {
            return Some((0, name));
        }
        let found = self.targets.iter().enumerate();
        found.filter_map(|(at, (prefix, _))| Some((at, name.strip_prefix(prefix.as_str())?))).next()
    }

    /// The federated URI, or URI template, of a resource.
    pub(crate) fn uri(&self, target: usize, own: &str) -> String {
        self.targets.get(target).map_or_else(|| own.to_owned(), |(_, prefix)| format!("{prefix}{own}"))
    }

    /// The target of a resource, and its URI there. Schemes are compared without regard to case, as URI libraries
    /// rewrite it.
    pub(crate) fn split_uri<'a>(&self, uri: &'a str) -> Option<(usize, &'a str)> {
        if !self.is_federated() {
            return Some((0, uri));
        }
        self.targets.iter().enumerate().find_map(|(at, (_, prefix))| {
            let (start, rest) = uri.split_at_checked(prefix.len())?;
            start.eq_ignore_ascii_case(prefix).then_some((at, rest))
        })
    }

    /// The id under which a client sees a request, stream position or progress token of a target: `own` is JSON text.
    pub(crate) fn tag(target: usize, own: &str) -> String {
        format!("{target}|{own}")
    }

    /// The target and its own JSON text; the opposite of [`Self::tag`].
    pub(crate) fn untag(tagged: &str) -> Option<(usize, &str)> {
        let (target, own) = tagged.split_once('|')?;
        Some((target.parse().ok()?, own))
    }
}

/// `name` as the start of a URI scheme.
fn scheme(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if out.is_empty() && !byte.is_ascii_lowercase() {
            // A scheme starts with a letter. Two dots follow each other nowhere else, so this is the form of no other
            // name.
            out.push_str(&format!("x..{byte:02x}"));
        } else if byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!(".{byte:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_target_keeps_its_names() {
        let naming = Naming::new(&["github"]).unwrap();
        assert_eq!(naming.name(0, "search"), "search");
        assert_eq!(naming.split_name("github_search"), Some((0, "github_search")));
        assert_eq!(naming.split_uri("file:///a"), Some((0, "file:///a")));
    }

    #[test]
    fn several_targets() {
        let naming = Naming::new(&["time", "every_thing"]).unwrap();
        assert_eq!(naming.name(0, "get_current_time"), "time_get_current_time");
        assert_eq!(naming.split_name("every_thing_echo"), Some((1, "echo")));
        assert_eq!(naming.split_name("echo"), None);
        assert_eq!(naming.uri(1, "test://a/{id}"), "every.5fthing+test://a/{id}");
        assert_eq!(naming.split_uri("EVERY.5Fthing+test://a"), Some((1, "test://a")));
        assert_eq!(naming.split_uri("test://a"), None);
        assert_eq!(naming.split_uri("té"), None);
        assert_eq!((scheme("A"), scheme("xA")), ("x..41".to_owned(), "x.41".to_owned()));
    }

    #[test]
    fn names_without_their_target() {
        let naming = Naming::of(&["a", "b"], v1::McpPrefixMode::McpPrefixNever).unwrap();
        assert_eq!(naming.name(1, "x"), "x");
        assert!(naming.must_look_up(Named::Tool, "x") && naming.find(Named::Tool, "x").is_none());
        assert!(naming.note(Named::Tool, 1, "x") && naming.note(Named::Tool, 0, "x"));
        assert!(!naming.note(Named::Tool, 1, "x"), "the first target has it, whichever was listed first");
        assert_eq!(naming.find(Named::Tool, "x"), Some((0, "x")));
        assert!(naming.find(Named::Prompt, "x").is_none());
        naming.forget(Named::Tool, 0);
        assert!(naming.must_look_up(Named::Tool, "x"));
        let always = Naming::of(&["a"], v1::McpPrefixMode::McpPrefixAlways).unwrap();
        assert_eq!(always.find(Named::Tool, "a_x"), Some((0, "x")));
    }

    #[test]
    fn names_that_could_be_confused() {
        assert!(Naming::new(&[]).is_err());
        assert!(Naming::new(&["a", "a"]).is_err());
        assert!(Naming::new(&["a", ""]).is_err());
        assert!(Naming::new(&["a", "a_b"]).is_err());
        assert!(Naming::new(&["a_b", "a"]).is_err());
        assert!(Naming::new(&["a", "ab"]).is_ok());
    }

    proptest! {
        #[test]
        fn federated_names_find_their_owner(
            names in prop::collection::hash_set("[A-Za-z0-9_.-]{1,6}", 2..5),
            own in "[a-z_]{1,8}",
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            if let Ok(naming) = Naming::new(&names) {
                for at in 0..names.len() {
                    let name = naming.name(at, &own);
                    prop_assert_eq!(naming.split_name(&name), Some((at, own.as_str())));
                    let uri = format!("file:///{own}");
                    let federated = naming.uri(at, &uri);
                    prop_assert_eq!(naming.split_uri(&federated), Some((at, uri.as_str())));
                }
            }
        }

        #[test]
        fn tags(target in 0usize..100, own in "\\PC{0,10}") {
            let tagged = Naming::tag(target, &own);
            prop_assert_eq!(Naming::untag(&tagged), Some((target, own.as_str())));
        }
    }
}
