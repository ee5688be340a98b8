//! One line per stream: a TCP connection, a UDP session, or a TLS handshake that failed.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Format, WorkerLog, cut, quoted, seconds_since_epoch};

/// One stream, for its line.
#[derive(Debug)]
pub struct StreamEntry<'a> {
    /// "<namespace>/<gateway>.<listener>"; empty when none takes it.
    pub listener: &'a str,
    /// Printed identity of the route; empty when none matched.
    pub route: &'a str,
    /// The client.
    pub source: SocketAddr,
    /// "TCP", "TLS" or "UDP".
    pub protocol: &'static str,
    /// The server name that a TLS client asked for.
    pub server_name: Option<&'a str>,
    /// From the beginning to the end.
    pub duration: Duration,
    /// Bytes from the client.
    pub received: u64,
    /// Bytes to the client.
    pub sent: u64,
    /// The endpoint that served it.
    pub endpoint: Option<SocketAddr>,
    /// What went wrong.
    pub reason: Option<&'a str>,
}

impl WorkerLog {
    /// Adds a line.
    pub fn write_stream(&self, entry: &StreamEntry<'_>) {
        self.add(|out, format| match format {
            Format::Text => text(out, entry),
            Format::Json => json(out, entry),
        });
    }
}

fn text(out: &mut String, e: &StreamEntry<'_>) {
    // Writing to a String cannot fail.
    let _ = write!(out, "time={:.3} listener=", seconds_since_epoch());
    quoted(out, e.listener);
    out.push_str(" route=");
    quoted(out, e.route);
    let _ = write!(out, " source={} protocol={}", e.source, e.protocol);
    if let Some(name) = e.server_name {
        out.push_str(" server_name=");
        quoted(out, name);
    }
    let milliseconds = e.duration.as_secs_f64() * 1e3;
    let _ = write!(out, " duration_ms={milliseconds:.3} received={} sent={}", e.received, e.sent);
    if let Some(endpoint) = e.endpoint {
        let _ = write!(out, " endpoint={endpoint}");
    }
    if let Some(reason) = e.reason {
        out.push_str(" reason=");
        quoted(out, reason);
    }
    out.push('\n');
}

fn json(out: &mut String, e: &StreamEntry<'_>) {
    let mut line = serde_json::json!({
        "time": seconds_since_epoch(), "listener": e.listener, "route": e.route, "source": e.source.to_string(),
        "protocol": e.protocol, "duration_ms": e.duration.as_secs_f64() * 1e3, "received": e.received, "sent": e.sent,
    });
    if let Some(fields) = line.as_object_mut() {
        if let Some(name) = e.server_name {
            fields.insert("server_name".into(), cut(name).into());
        }
        if let Some(endpoint) = e.endpoint {
            fields.insert("endpoint".into(), endpoint.to_string().into());
        }
        if let Some(reason) = e.reason {
            fields.insert("reason".into(), cut(reason).into());
        }
    }
    let _ = writeln!(out, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let entry = StreamEntry {
            listener: "ns/gw.tls",
            route: "ns/r.0.tls",
            source: "127.0.0.1:1".parse().expect("address"),
            protocol: "TLS",
            server_name: Some("a.example"),
            duration: Duration::from_millis(2),
            received: 3,
            sent: 4,
            endpoint: Some("10.0.0.1:443".parse().expect("address")),
            reason: Some("broke off"),
        };
        let (mut line, mut other) = (String::new(), String::new());
        text(&mut line, &entry);
        json(&mut other, &entry);
        let end = "listener=ns/gw.tls route=ns/r.0.tls source=127.0.0.1:1 protocol=TLS server_name=a.example \
                   duration_ms=2.000 received=3 sent=4 endpoint=10.0.0.1:443 reason=\"broke off\"\n";
        assert!(line.ends_with(end), "{line}");
        let other: serde_json::Value = serde_json::from_str(&other).expect("JSON");
        assert_eq!((other["server_name"].as_str(), other["sent"].as_u64()), (Some("a.example"), Some(4)));
    }
}
