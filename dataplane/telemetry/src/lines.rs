//! Lines of access logs that policies ask for: to standard output, or to files that may be moved away.
//!
//! Workers add whole lines to a buffer; a thread of the sink writes it. What a slow disk leaves no place for is dropped, and
//! counted.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::FieldValue;
use crate::access_log::{FLUSH_INTERVAL, cut, quoted};

/// The writer is woken when there are this many bytes.
const WAKE_BYTES: usize = 16 * 1024;
/// Lines beyond this are dropped.
const MAX_BUFFERED_BYTES: usize = 1024 * 1024;
/// How often a file is looked for at its path.
const ROTATION_CHECK: Duration = Duration::from_secs(1);

/// A column of a line, or an attribute of a record.
pub type Column = (Cow<'static, str>, FieldValue);

/// Sinks that are in use, by path; None is standard output.
#[derive(Debug, Default)]
pub struct Sinks {
    open: Mutex<HashMap<Option<PathBuf>, Weak<Sink>>>,
    dropped: Arc<AtomicU64>,
}

/// Takes lines.
#[derive(Debug)]
pub struct Sink {
    shared: Arc<Shared>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Shared {
    buffer: Mutex<Buffer>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Buffer {
    text: String,
    lines: u64,
    closed: bool,
}

impl Sinks {
    /// The sink for a file, or for standard output; its thread ends with the last that uses it.
    ///
    /// # Errors
    /// Its thread cannot be started.
    pub fn get(&self, path: Option<&Path>) -> io::Result<Arc<Sink>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = open.get(&path.map(Path::to_owned)).and_then(Weak::upgrade) {
            return Ok(known);
        }
        open.retain(|_, sink| sink.strong_count() > 0);
        let shared = Arc::new(Shared::default());
        let sink = Arc::new(Sink { shared: Arc::clone(&shared), dropped: Arc::clone(&self.dropped) });
        let (path, dropped) = (path.map(Path::to_owned), Arc::clone(&self.dropped));
        open.insert(path.clone(), Arc::downgrade(&sink));
        let writer = Writer { path, file: None, checked: Instant::now(), told: false };
        std::thread::Builder::new().name("access-log".into()).spawn(move || write_all(&shared, writer, &dropped))?;
        Ok(sink)
    }

    /// Lines that were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink {
    /// Adds a line, which ends in a line break.
    pub fn write(&self, line: &str) {
        let mut buffer = self.shared.lock();
        if buffer.text.len() + line.len() > MAX_BUFFERED_BYTES {
            drop(buffer);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        buffer.text.push_str(line);
        buffer.lines += 1;
        let wakes = buffer.lines == 1 || buffer.text.len() >= WAKE_BYTES;
        drop(buffer);
        if wakes {
            self.shared.filled.notify_one();
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_one();
    }
}

fn write_all(shared: &Shared, mut writer: Writer, dropped: &AtomicU64) {
    loop {
        let mut buffer = shared.lock();
        while buffer.lines == 0 && !buffer.closed {
            buffer = shared.filled.wait(buffer).unwrap_or_else(PoisonError::into_inner);
        }
        if !buffer.closed && buffer.text.len() < WAKE_BYTES {
            // The first of some lines: those that come soon go with it.
            let waited =
                shared.filled.wait_timeout_while(buffer, FLUSH_INTERVAL, |b| !b.closed && b.text.len() < WAKE_BYTES);
            buffer = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let Buffer { text, lines, closed } = std::mem::take(&mut *buffer);
        buffer.closed = closed;
        drop(buffer);
        if !text.is_empty() && writer.write(&text).is_err() {
            dropped.fetch_add(lines, Ordering::Relaxed);
        }
        if closed {
            return;
        }
    }
}

/// Writes where the sink is, of which it is the only writer.
struct Writer {
    path: Option<PathBuf>,
    file: Option<File>,
    checked: Instant,
    /// Whether it was said that the file cannot be opened.
    told: bool,
}

impl Writer {
    fn write(&mut self, text: &str) -> io::Result<()> {
        let Some(path) = &self.path else {
            let mut output = io::stdout().lock();
            return output.write_all(text.as_bytes()).and_then(|()| output.flush());
        };
        if self.checked.elapsed() >= ROTATION_CHECK {
            self.checked = Instant::now();
            if self.file.as_ref().is_some_and(|file| !is_at(file, path)) {
                self.file = None;
            }
        }
        let opened = match &mut self.file {
            Some(file) => Ok(file),
            none => OpenOptions::new().create(true).append(true).open(path).map(|file| none.insert(file)),
        };
        let written = opened.and_then(|file| file.write_all(text.as_bytes()));
        match &written {
            Ok(()) => self.told = false,
            Err(error) => {
                if !std::mem::replace(&mut self.told, true) {
                    tracing::warn!(path = %path.display(), %error, "the access log cannot be written; lines are dropped");
                }
                self.file = None;
            }
        }
        written
    }
}

/// Whether the file is still the one at its path.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.metadata()) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// A line of pairs.
pub fn text(columns: &[Column]) -> String {
    let mut out = String::with_capacity(512);
    for (name, value) in columns {
        if !out.is_empty() {
            out.push(' ');
        }
        // Writing to a String cannot fail.
        let _ = write!(out, "{name}=");
        match value {
            FieldValue::Text(text) => quoted(&mut out, text),
            FieldValue::Float(number) => {
                let _ = write!(out, "{number:.3}");
            }
            other => {
                let _ = write!(out, "{other}");
            }
        }
    }
    out.push('\n');
    out
}

/// A line with a JSON object.
pub fn json(columns: &[Column]) -> String {
    let mut out = object(columns).to_string();
    out.push('\n');
    out
}

/// The columns as a JSON object.
pub fn object(columns: &[Column]) -> serde_json::Value {
    let value = |value: &FieldValue| match value {
        FieldValue::Text(text) => cut(text).into(),
        FieldValue::Integer(number) => (*number).into(),
        FieldValue::Float(number) => (*number).into(),
        FieldValue::Bool(value) => (*value).into(),
    };
    columns.iter().map(|(name, v)| (name.to_string(), value(v))).collect::<serde_json::Map<_, _>>().into()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "no runtime runs here")]
mod tests {
    use super::*;

    fn wait_for(path: &Path, text: &str) {
        for _ in 0..500 {
            if std::fs::read_to_string(path).is_ok_and(|found| found == text) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{} has {:?}, not {text:?}", path.display(), std::fs::read_to_string(path));
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew_and_nothing_is_lost() {
        let folder = std::env::temp_dir().join(format!("agentgateway-lines-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (path, moved) = (folder.join("a.log"), folder.join("a.log.1"));
        let sinks = Sinks::default();
        let sink = sinks.get(Some(&path)).expect("starts");
        assert!(Arc::ptr_eq(&sink, &sinks.get(Some(&path)).expect("is there")));
        sink.write("one\n");
        wait_for(&path, "one\n");
        std::fs::rename(&path, &moved).expect("moves");
        std::thread::sleep(ROTATION_CHECK);
        sink.write("two\n");
        wait_for(&path, "two\n");
        wait_for(&moved, "one\n");
        // The last lines are written when nobody uses it any more.
        sink.write("three\n");
        drop(sink);
        wait_for(&path, "two\nthree\n");
        assert_eq!(sinks.dropped(), 0);
        std::fs::remove_dir_all(&folder).expect("removes");
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let sinks = Sinks::default();
        let sink = sinks.get(Some(Path::new("/nonexistent/a.log"))).expect("starts");
        sink.write("one\n");
        sink.write("two\n");
        for _ in 0..500 {
            if sinks.dropped() == 2 {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{} lines are counted", sinks.dropped());
    }

    #[test]
    fn lines_have_their_columns() {
        let columns: Vec<Column> =
            vec![("path".into(), "/a\nb".into()), ("status".into(), 200_u32.into()), ("ms".into(), 1.5.into())];
        assert_eq!(text(&columns), "path=\"/a\\nb\" status=200 ms=1.500\n");
        assert_eq!(json(&columns), "{\"ms\":1.5,\"path\":\"/a\\nb\",\"status\":200}\n");
    }
}
