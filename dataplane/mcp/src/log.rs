//! Fields of one request for the access log.

/// Longest value, in bytes.
const VALUE: usize = 128;

#[derive(Debug, Default)]
pub(crate) struct Log(Vec<(&'static str, String)>);

impl Log {
    pub(crate) fn method(&mut self, method: &str) {
        self.item("mcp.method", method);
    }

    pub(crate) fn target(&mut self, target: &str) {
        self.item("mcp.target", target);
    }

    pub(crate) fn session(&mut self, hash: String) {
        self.0.push(("mcp.session", hash));
    }

    pub(crate) fn error(&mut self, reason: &'static str) {
        self.0.push(("mcp.error", reason.to_owned()));
    }

    /// A tool, prompt or resource, by the name that the client used.
    pub(crate) fn item(&mut self, field: &'static str, value: &str) {
        let end = (0..=VALUE.min(value.len())).rev().find(|at| value.is_char_boundary(*at)).unwrap_or(0);
        self.0.push((field, value[..end].to_owned()));
    }

    pub(crate) fn into_fields(self) -> Vec<(&'static str, String)> {
        self.0
    }
}
