//! A child process that speaks MCP over its stdin and stdout: one task on the background runtime owns it from its start
//! until it is reaped.
//!
//! The process leads a group of its own. When its link is dropped, or the gateway stops, its stdin is closed, then
//! the group gets SIGTERM, then SIGKILL. Of the gateway's environment it gets what programs need to run and nothing
//! that may be secret.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use super::peer::{Inbound, Peer};
use crate::limits::{PROCESS_EXIT, STDERR_LINE};
use crate::target::Command;

/// Variables that a child gets besides those of its configuration.
const ENVIRONMENT: [&str; 13] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "LANG",
    "TZ",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "XDG_CACHE_HOME",
];
/// Starts of the names of further ones: locale, proxies, and what package runners need to find their registry.
const ENVIRONMENT_PREFIXES: [&str; 8] =
    ["LC_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "npm_config_", "NPM_CONFIG_", "UV_", "PIP_"];
/// Exact names of certificate settings of Node and OpenSSL.
const CERTIFICATES: [&str; 4] = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"];

/// What the task needs.
pub(crate) struct Start {
    pub(crate) name: Arc<str>,
    pub(crate) command: Arc<Command>,
    pub(crate) peer: Arc<Peer>,
    /// Messages to write, one line each, without its end. Its closing ends the process.
    pub(crate) input: mpsc::Receiver<Bytes>,
    /// For answers that the reader gives itself.
    pub(crate) answers: mpsc::WeakSender<Bytes>,
    pub(crate) message_bytes: usize,
    pub(crate) stop: CancellationToken,
    /// One of the places for processes, held for as long as the process lives.
    pub(crate) place: OwnedSemaphorePermit,
}

/// Runs the process until it ends or has to.
pub(crate) async fn run(start: Start) {
    let Start { name, command, peer, input, answers, message_bytes, stop, place } = start;
    let mut child = match spawn(&command) {
        Ok(child) => child,
        Err(error) => {
            let why = format!("cannot be started: command \"{}\": {error}", command.program);
            tracing::warn!(mcp_target = %name, "target {why}");
            return peer.close(why);
        }
    };
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
    tracing::info!(mcp_target = %name, pid = group.map(Pid::as_raw), command = command.program, "process started");
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    if let Some(stderr) = stderr {
        tokio::spawn(log_lines(Arc::clone(&name), stderr));
    }
    let why = {
        let write = async {
            match stdin {
                Some(stdin) => write(stdin, input).await,
                None => None,
            }
        };
        let read = async {
            match stdout {
                Some(stdout) => read(&name, stdout, &peer, &answers, message_bytes).await,
                None => "has no stdout".to_owned(),
            }
        };
        tokio::select! {
            why = read => Some(why),
            why = write => why,
            () = stop.cancelled() => None,
        }
    };
    // Its stdin is closed by now, which ends a well-behaved server.
    let exited = end(&mut child, group).await;
    let why = match (why, exited) {
        (_, Some(status)) if !status.success() => format!("ended: {status}"),
        (Some(why), _) => why,
        (None, _) => "was stopped".to_owned(),
    };
    tracing::info!(mcp_target = %name, "process {why}");
    peer.close(why);
    drop(place);
}

fn spawn(command: &Command) -> std::io::Result<Child> {
    let inherited = std::env::vars_os().filter(|(name, _)| {
        name.to_str().is_some_and(|name| {
            ENVIRONMENT.contains(&name)
                || CERTIFICATES.contains(&name)
                || ENVIRONMENT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        })
    });
    tokio::process::Command::new(&command.program)
        .args(&command.args)
        .env_clear()
        .envs(inherited)
        .envs(&command.env)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Writes messages until the channel closes; gives the reason when the process does not read them.
async fn write(mut stdin: ChildStdin, mut input: mpsc::Receiver<Bytes>) -> Option<String> {
    while let Some(message) = input.recv().await {
        let line = async {
            stdin.write_all(&message).await?;
            stdin.write_all(b"\n").await?;
            stdin.flush().await
        };
        if let Err(error) = line.await {
            return Some(format!("does not read its input: {error}"));
        }
    }
    None
}

/// Reads messages until the end; gives the reason.
async fn read(
    name: &str,
    stdout: impl AsyncRead + Unpin,
    peer: &Peer,
    answers: &mpsc::WeakSender<Bytes>,
    limit: usize,
) -> String {
    let mut lines = Lines::new(stdout, limit);
    loop {
        match lines.next().await {
            Ok(Some(line)) if line.cut => return format!("sent a message larger than {limit} bytes"),
            Ok(Some(line)) if line.text.trim().is_empty() => {}
            Ok(Some(line)) => match peer.accept(line.text) {
                Inbound::Done => {}
                Inbound::Answer(answer) => {
                    if let Some(answers) = answers.upgrade() {
                        // A full queue means that the process does not read: the answer would not help.
                        drop(answers.try_send(answer));
                    }
                }
                Inbound::Garbage(why) => {
                    tracing::warn!(mcp_target = name, why, "a line on stdout is no message; it is ignored");
                }
            },
            Ok(None) => return "closed its output".to_owned(),
            Err(error) => return format!("cannot be read: {error}"),
        }
    }
}

async fn log_lines(name: Arc<str>, stderr: impl AsyncRead + Unpin) {
    let mut lines = Lines::new(stderr, STDERR_LINE);
    while let Ok(Some(line)) = lines.next().await {
        let rest = if line.cut { " ..." } else { "" };
        tracing::info!(mcp_target = %name, "stderr: {}{rest}", line.text.trim_end());
    }
}

/// Lines of at most so many bytes; what is longer is cut, and the rest of it skipped.
struct Lines<R> {
    reader: BufReader<R>,
    limit: usize,
}

struct Line {
    text: String,
    cut: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(reader: R, limit: usize) -> Self {
        Self { reader: BufReader::with_capacity(16 << 10, reader), limit }
    }

    async fn next(&mut self) -> std::io::Result<Option<Line>> {
        let mut line = Vec::new();
        let mut cut = false;
        let mut any = false;
        loop {
            let piece = self.reader.fill_buf().await?;
            if piece.is_empty() {
                let text = String::from_utf8_lossy(&line).into_owned();
                return Ok(any.then_some(Line { text, cut }));
            }
            any = true;
            let end = piece.iter().position(|b| *b == b'\n');
            let taken = &piece[..end.unwrap_or(piece.len())];
            let room = self.limit.saturating_sub(line.len());
            cut |= taken.len() > room;
            line.extend_from_slice(&taken[..taken.len().min(room)]);
            let used = end.map_or(piece.len(), |at| at + 1);
            self.reader.consume(used);
            if end.is_some() {
                let text =
                    String::from_utf8(line).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
                return Ok(Some(Line { text, cut }));
            }
        }
    }
}

/// Ends the process and what it started; gives its status when it had ended by itself.
async fn end(child: &mut Child, group: Option<Pid>) -> Option<ExitStatus> {
    let mut by_itself = true;
    let mut status = None;
    for signal in [None, Some(Signal::SIGTERM), Some(Signal::SIGKILL)] {
        if let (Some(signal), Some(group)) = (signal, group) {
            by_itself = false;
            signal_group(group, signal);
        }
        if let Ok(Ok(exited)) = tokio::time::timeout(PROCESS_EXIT, child.wait()).await {
            status = Some(exited);
            break;
        }
    }
    // The leader is gone; package runners leave children behind that do not notice.
    if let Some(group) = group {
        signal_group(group, Signal::SIGKILL);
    }
    status.filter(|_| by_itself)
}

fn signal_group(group: Pid, signal: Signal) {
    if let Err(error) = killpg(group, signal) {
        // Most likely it is gone already.
        tracing::trace!(%group, %signal, %error, "a process group was not signalled");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_cut() {
        let mut lines = Lines::new(&b"abc\n0123456789\n\nend"[..], 5);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push((line.text, line.cut));
        }
        let expected = [("abc", false), ("01234", true), ("", false), ("end", false)];
        assert_eq!(all, expected.map(|(text, cut)| (text.to_owned(), cut)));
    }
}
