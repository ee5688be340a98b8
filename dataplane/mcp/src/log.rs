//! Fields of one request for what records it.

use agentgateway_telemetry::RequestTelemetry;

/// Longest value, in bytes.
const VALUE: usize = 128;

#[derive(Debug, Default)]
pub(crate) struct Log(RequestTelemetry);

impl Log {
    pub(crate) fn new(telemetry: RequestTelemetry) -> Log {
        Log(telemetry)
    }

    pub(crate) fn method(&mut self, method: &str) {
        self.item("mcp.method", method);
    }

    pub(crate) fn target(&mut self, target: &str) {
        self.item("mcp.target", target);
    }

    pub(crate) fn session(&mut self, hash: String) {
        self.0.set("mcp.session", hash);
    }

    pub(crate) fn error(&mut self, reason: &'static str) {
        self.0.set("mcp.error", reason);
    }

    /// A tool, prompt or resource, by the name that the client used.
    pub(crate) fn item(&mut self, field: &'static str, value: &str) {
        if self.0.is_on() {
            let end = value.floor_char_boundary(VALUE);
            self.0.set(field, value.get(..end).unwrap_or_default().to_owned());
        }
    }
}
