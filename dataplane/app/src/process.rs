//! What a process owes its machine: file descriptors, orphans when it is PID 1, and a copy of itself on request.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Marks the process that does the work below an init.
const SUPERVISED: &str = "AGENTGATEWAY_SUPERVISED";
/// Highest number of open files that is asked for: more only makes tables larger.
const MAX_FILES: u64 = 1 << 20;

/// Each connection costs a file descriptor; the soft limit is often 1024.
pub(crate) fn raise_file_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let wanted = hard.min(MAX_FILES);
    if soft < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_err() {
        tracing::warn!(soft, "the limit of open files cannot be raised; it bounds the number of connections");
    }
}

/// Turns huge pages off for this process. The allocator asks for them for each thread's heap, which then weighs megabytes
/// before it holds anything: 22 MB instead of 10 MB resident after a thousand requests. Child processes inherit it.
pub(crate) fn use_small_pages() {
    // Kernels without huge pages have nothing to turn off.
    let _unsupported = nix::sys::prctl::set_thp_disable(true);
}

/// Copies the running program to `path`, executable for all.
pub(crate) fn copy_self(path: &Path) -> anyhow::Result<()> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    // A name beside the target and a rename: whoever reads `path` never sees half a program.
    let partial = path.with_extension("partial");
    std::fs::copy(&own, &partial).with_context(|| format!("cannot write {}", partial.display()))?;
    std::fs::set_permissions(&partial, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", partial.display()))?;
    std::fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Whether this process is the first of its container and has to look after orphans.
pub(crate) fn must_supervise() -> bool {
    std::process::id() == 1 && std::env::var_os(SUPERVISED).is_none()
}

/// Takes signals again in the process below an init: it inherits that the init blocks them all. To be called before any
/// thread is started.
pub(crate) fn unblock_signals() -> anyhow::Result<()> {
    if std::env::var_os(SUPERVISED).is_some() {
        SigSet::all().thread_unblock().context("cannot unblock signals")?;
    }
    Ok(())
}

/// Runs the program again as a child, passes signals on, reaps whatever ends, and ends as the child ends.
///
/// Orphans of stdio servers become children of PID 1. Reaping "any child" in the proxy itself would take exit states
/// away from those who wait for them, so a small parent does it.
pub(crate) fn supervise() -> anyhow::Result<ExitCode> {
    let signals = SigSet::all();
    signals.thread_block().context("cannot block signals")?;
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let child = Command::new(own)
        .args(std::env::args_os().skip(1))
        .env(SUPERVISED, "1")
        .spawn()
        .context("cannot start the proxy")?;
    let child = Pid::from_raw(i32::try_from(child.id()).context("process id")?);
    loop {
        match signals.wait().context("cannot wait for signals")? {
            Signal::SIGCHLD => {
                if let Some(code) = reap(child) {
                    return Ok(code);
                }
            }
            // It is gone already; SIGCHLD will say so.
            signal => drop(kill(child, signal)),
        }
    }
}

/// Reaps all that ended; gives an exit code when the proxy is among them.
fn reap(child: Pid) -> Option<ExitCode> {
    let mut ended = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => {
                ended = Some(ExitCode::from(u8::try_from(code).unwrap_or(1)));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                // As a shell reports it.
                ended = Some(ExitCode::from(u8::try_from(128 + signal as i32).unwrap_or(255)));
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return ended,
            Ok(_) => {}
        }
    }
}
