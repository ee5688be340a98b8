//! One line per request or stream, to standard output.
//!
//! A worker collects lines in a buffer and hands full buffers to a thread that writes; a reader that is too slow costs
//! lines, which are counted, and never a request's time.

mod stream;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use stream::StreamEntry;

use crate::logging::Format;
use crate::metrics::HttpMetrics;
use crate::{Field, FieldValue};

/// A buffer is handed over when it has this many bytes.
const BUFFER_BYTES: usize = 16 * 1024;
/// And at the latest after this time.
pub const FLUSH_INTERVAL: Duration = Duration::from_millis(200);
/// Buffers that may wait for the writer.
const QUEUED_BUFFERS: usize = 64;
/// Longer values are cut.
const MAX_VALUE_BYTES: usize = 1024;

/// Starts the writer. Lines of all workers go to its standard output.
pub fn start(format: Format, metrics: Arc<HttpMetrics>) -> std::io::Result<AccessLog> {
    let (sender, receiver) = sync_channel(QUEUED_BUFFERS);
    std::thread::Builder::new().name("access-log".into()).spawn(move || write_all(&receiver))?;
    Ok(AccessLog { sender, format, metrics })
}

fn write_all(buffers: &Receiver<String>) {
    let mut output = std::io::stdout();
    for buffer in buffers {
        // Nobody reads standard output any more; the proxy goes on.
        let _closed = output.write_all(buffer.as_bytes()).and_then(|()| output.flush());
    }
}

/// Makes the workers' logs.
#[derive(Clone, Debug)]
pub struct AccessLog {
    sender: SyncSender<String>,
    format: Format,
    metrics: Arc<HttpMetrics>,
}

/// The lines of one worker.
#[derive(Debug)]
pub struct WorkerLog {
    log: AccessLog,
    buffer: RefCell<String>,
}

/// One request, for its line.
#[derive(Debug)]
pub struct Entry<'a> {
    /// "<namespace>/<gateway>.<listener>".
    pub listener: &'a str,
    /// Printed identity of the route; empty when none matched.
    pub route: &'a str,
    /// The client.
    pub source: SocketAddr,
    /// Request method.
    pub method: &'a str,
    /// Request host.
    pub host: &'a str,
    /// Path without query, which may hold secrets.
    pub path: &'a str,
    /// "HTTP/1.1" and so on.
    pub version: &'static str,
    /// Response status.
    pub status: u16,
    /// From the head of the request to the end of the response.
    pub duration: Duration,
    /// Bytes of the response body.
    pub bytes: u64,
    /// The endpoint that answered.
    pub endpoint: Option<SocketAddr>,
    /// Why the gateway answered itself, or what went wrong.
    pub reason: Option<&'a str>,
    /// What else was learnt of the request.
    pub fields: &'a [Field],
}

impl AccessLog {
    /// The log of one worker.
    pub fn worker(&self) -> WorkerLog {
        WorkerLog { log: self.clone(), buffer: RefCell::new(String::with_capacity(BUFFER_BYTES)) }
    }
}

impl WorkerLog {
    /// Adds a line.
    pub fn write(&self, entry: &Entry<'_>) {
        self.add(|out, format| match format {
            Format::Text => text(out, entry),
            Format::Json => json(out, entry),
        });
    }

    fn add(&self, line: impl FnOnce(&mut String, Format)) {
        let mut buffer = self.buffer.borrow_mut();
        line(&mut buffer, self.log.format);
        let full = buffer.len() >= BUFFER_BYTES;
        drop(buffer);
        if full {
            self.flush();
        }
    }

    /// Hands what there is to the writer.
    pub fn flush(&self) {
        let mut buffer = self.buffer.borrow_mut();
        if buffer.is_empty() {
            return;
        }
        let lines = std::mem::replace(&mut *buffer, String::with_capacity(BUFFER_BYTES));
        if let Err(unsent) = self.log.sender.try_send(lines) {
            let (std::sync::mpsc::TrySendError::Full(lines) | std::sync::mpsc::TrySendError::Disconnected(lines)) =
                unsent;
            let lost = lines.bytes().filter(|b| *b == b'\n').count();
            self.log.metrics.access_log_dropped.fetch_add(lost as u64, Ordering::Relaxed);
        }
    }
}

impl Drop for WorkerLog {
    fn drop(&mut self) {
        self.flush();
    }
}

fn seconds_since_epoch() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

fn text(out: &mut String, e: &Entry<'_>) {
    // Writing to a String cannot fail.
    let _ = write!(out, "time={:.3} listener={} route=", seconds_since_epoch(), e.listener);
    quoted(out, e.route);
    let _ = write!(out, " source={} method={} host=", e.source, e.method);
    quoted(out, e.host);
    out.push_str(" path=");
    quoted(out, e.path);
    let milliseconds = e.duration.as_secs_f64() * 1e3;
    let _ = write!(out, " version={} status={} duration_ms={milliseconds:.3} bytes={}", e.version, e.status, e.bytes);
    if let Some(endpoint) = e.endpoint {
        let _ = write!(out, " endpoint={endpoint}");
    }
    if let Some(reason) = e.reason {
        out.push_str(" reason=");
        quoted(out, reason);
    }
    for (name, value) in e.fields {
        let _ = write!(out, " {name}=");
        match value {
            FieldValue::Text(text) => quoted(out, text),
            other => {
                let _ = write!(out, "{other}");
            }
        }
    }
    out.push('\n');
}

/// A value that a reader of `name=value` pairs can tell apart: quoted when it is empty or has spaces, quotes or controls.
pub(crate) fn quoted(out: &mut String, value: &str) {
    let value = cut(value);
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'=' && b != b'\\') {
        out.push_str(value);
    } else {
        let _ = write!(out, "{value:?}");
    }
}

pub(crate) fn cut(value: &str) -> &str {
    let mut end = value.len().min(MAX_VALUE_BYTES);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.get(..end).unwrap_or_default()
}

fn json(out: &mut String, e: &Entry<'_>) {
    let mut line = serde_json::json!({
        "time": seconds_since_epoch(), "listener": e.listener, "route": e.route, "source": e.source.to_string(),
        "method": e.method, "host": cut(e.host), "path": cut(e.path), "version": e.version, "status": e.status,
        "duration_ms": e.duration.as_secs_f64() * 1e3, "bytes": e.bytes,
    });
    if let Some(fields) = line.as_object_mut() {
        if let Some(endpoint) = e.endpoint {
            fields.insert("endpoint".into(), endpoint.to_string().into());
        }
        if let Some(reason) = e.reason {
            fields.insert("reason".into(), cut(reason).into());
        }
        for (name, value) in e.fields {
            fields.insert((*name).into(), as_json(value));
        }
    }
    let _ = writeln!(out, "{line}");
}

fn as_json(value: &FieldValue) -> serde_json::Value {
    match value {
        FieldValue::Text(text) => cut(text).into(),
        FieldValue::Integer(number) => (*number).into(),
        FieldValue::Float(number) => (*number).into(),
        FieldValue::Bool(value) => (*value).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(path: &'a str, fields: &'a [Field]) -> Entry<'a> {
        Entry {
            listener: "ns/gw.http",
            route: "",
            source: "127.0.0.1:1".parse().expect("address"),
            method: "GET",
            host: "h",
            path,
            version: "HTTP/1.1",
            status: 200,
            duration: Duration::from_micros(1500),
            bytes: 3,
            endpoint: None,
            reason: Some("no route"),
            fields,
        }
    }

    #[test]
    fn nothing_from_outside_can_forge_a_line() {
        let mut line = String::new();
        text(&mut line, &entry("/a\nstatus=200 \"x\"", &[("mcp.tool", "a=b".into())]));
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.contains(r#"path="/a\nstatus=200 \"x\"""#), "{line}");
        assert!(line.contains(r#"mcp.tool="a=b""#), "{line}");
        assert!(
            line.contains(r#"route="""#) && line.contains(r#"reason="no route""#) && line.contains("duration_ms=1.500")
        );
    }

    #[test]
    fn json_lines_parse() {
        let mut line = String::new();
        json(&mut line, &entry("/ä\"", &[("mcp.tool", "t".into()), ("gen_ai.usage.input_tokens", 7_u64.into())]));
        let value: serde_json::Value = serde_json::from_str(&line).expect("json");
        assert_eq!(value["path"], "/ä\"");
        assert_eq!((&value["mcp.tool"], &value["gen_ai.usage.input_tokens"]), (&"t".into(), &7.into()));
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(cut(&"ä".repeat(2000)).len(), MAX_VALUE_BYTES);
    }
}
