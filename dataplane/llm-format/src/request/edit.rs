//! Changes of a request's body: defaults, overrides, and messages before and after the others.

use crate::json::{Json, Object};
use crate::{Dialect, Error, Role};

/// A request's body, read whole.
#[derive(Debug)]
pub struct Document<'a> {
    dialect: Dialect,
    tree: Json<'a>,
}

impl<'a> Document<'a> {
    pub(crate) fn new(dialect: Dialect, tree: Json<'a>) -> Document<'a> {
        Document { dialect, tree }
    }

    /// The body.
    pub fn tree(&self) -> &Json<'a> {
        &self.tree
    }

    /// The body, to change in ways that are the same for all APIs. What the change makes of it is checked when it is done.
    pub fn tree_mut(&mut self) -> &mut Json<'a> {
        &mut self.tree
    }

    /// Sets a field where the request has none (or `null`). `path` is a member's name, or names joined by dots
    /// (`generationConfig.temperature`); objects on the way are made.
    ///
    /// # Errors
    /// Something on the way is no object.
    pub fn default(&mut self, path: &str, value: Json<'static>) -> Result<(), Error> {
        self.set(path, value, false)
    }

    /// Sets a field whatever the request says.
    ///
    /// # Errors
    /// Something on the way is no object.
    pub fn set_field(&mut self, path: &str, value: Json<'static>) -> Result<(), Error> {
        self.set(path, value, true)
    }

    fn set(&mut self, path: &str, value: Json<'static>, replace: bool) -> Result<(), Error> {
        let mut at = &mut self.tree;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let object =
                at.as_object_mut().ok_or_else(|| Error::invalid(path.to_owned(), "is not within an object"))?;
            if names.peek().is_none() {
                if replace || object.get(name).is_none_or(Json::is_null) {
                    object.set(name.to_owned(), value);
                }
                return Ok(());
            }
            if object.get(name).is_none_or(Json::is_null) {
                object.set(name.to_owned(), Json::Object(Object::default()));
            }
            let Some(next) = object.get_mut(name) else { return Ok(()) };
            at = next;
        }
        Ok(())
    }

    /// Puts a message before all others; with [`Role::System`] before all instructions.
    ///
    /// # Errors
    /// The messages are not where this API has them.
    pub fn prepend(&mut self, role: Role, text: &str) -> Result<(), Error> {
        self.add(role, text, true)
    }

    /// Puts a message after all others; with [`Role::System`] after all instructions.
    ///
    /// # Errors
    /// The messages are not where this API has them.
    pub fn append(&mut self, role: Role, text: &str) -> Result<(), Error> {
        self.add(role, text, false)
    }

    fn add(&mut self, role: Role, text: &str, first: bool) -> Result<(), Error> {
        let text = || Json::from(text.to_owned());
        let dialect = self.dialect;
        let body = self.tree.as_object_mut().ok_or_else(|| Error::invalid("body", "must be an object"))?;
        match (dialect, role) {
            (Dialect::OpenAiChat, _) => {
                let message = object([("role", role_name(role).into()), ("content", text())]);
                let messages = list(body, "messages")?;
                // Appended instructions stand behind the others, not behind the conversation.
                let at = match (first, role) {
                    (true, _) => 0,
                    (false, Role::System) => messages
                        .iter()
                        .rposition(|message| matches!(message.get("role").as_str(), Some("system" | "developer")))
                        .map_or(0, |at| at.saturating_add(1)),
                    (false, _) => messages.len(),
                };
                messages.insert(at, message);
            }
            (Dialect::OpenAiResponses, Role::System) => join_text(body, "instructions", text(), first)?,
            (Dialect::OpenAiResponses, _) => {
                let message =
                    object([("type", "message".into()), ("role", role_name(role).into()), ("content", text())]);
                if let Some(Json::String(only)) = body.get("input") {
                    let only = object([("role", "user".into()), ("content", Json::String(only.clone()))]);
                    body.set("input", Json::Array(vec![only]));
                }
                insert(list(body, "input")?, message, first);
            }
            (Dialect::AnthropicMessages, Role::System) => {
                if let Some(Json::Array(blocks)) = body.get_mut("system") {
                    insert(blocks, object([("type", "text".into()), ("text", text())]), first);
                } else {
                    join_text(body, "system", text(), first)?;
                }
            }
            (Dialect::AnthropicMessages, _) => {
                insert(list(body, "messages")?, object([("role", role_name(role).into()), ("content", text())]), first);
            }
            (Dialect::Gemini, Role::System) => {
                let name =
                    if body.get("system_instruction").is_some() { "system_instruction" } else { "systemInstruction" };
                if body.get(name).is_none_or(Json::is_null) {
                    body.set(name, object([("parts", Json::Array(Vec::new()))]));
                }
                let content = body.get_mut(name).and_then(Json::as_object_mut);
                let content = content.ok_or_else(|| Error::invalid("systemInstruction", "must be an object"))?;
                insert(list(content, "parts")?, object([("text", text())]), first);
            }
            (Dialect::Gemini, _) => {
                let role = if role == Role::Assistant { "model" } else { "user" };
                let parts = Json::Array(vec![object([("text", text())])]);
                insert(list(body, "contents")?, object([("role", role.into()), ("parts", parts)]), first);
            }
            (Dialect::BedrockConverse, _) => return Err(Error::invalid("messages", "clients do not speak this API")),
        }
        Ok(())
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

fn object<'a, const N: usize>(members: [(&'static str, Json<'a>); N]) -> Json<'a> {
    members.into_iter().collect()
}

fn insert<'a>(items: &mut Vec<Json<'a>>, item: Json<'a>, first: bool) {
    items.insert(if first { 0 } else { items.len() }, item);
}

/// The array of this name, which is made where there is none.
fn list<'o, 'a>(object: &'o mut Object<'a>, name: &'static str) -> Result<&'o mut Vec<Json<'a>>, Error> {
    if object.get(name).is_none_or(Json::is_null) {
        object.set(name, Json::Array(Vec::new()));
    }
    match object.get_mut(name) {
        Some(Json::Array(items)) => Ok(items),
        _ => Err(Error::invalid(name, "must be an array")),
    }
}

/// Puts a text before or after the one that a member is, with an empty line between.
fn join_text<'a>(body: &mut Object<'a>, name: &'static str, text: Json<'a>, first: bool) -> Result<(), Error> {
    let joined = match (body.get(name), &text) {
        (None | Some(Json::Null), _) => text,
        (Some(Json::String(there)), Json::String(text)) if first => format!("{text}\n\n{there}").into(),
        (Some(Json::String(there)), Json::String(text)) => format!("{there}\n\n{text}").into(),
        _ => return Err(Error::invalid(name, "must be a string")),
    };
    body.set(name, joined);
    Ok(())
}
