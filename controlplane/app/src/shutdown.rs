//! Tells all parts of the program when the process is to stop.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Ready once the process is told to stop.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown {
    stopped: watch::Receiver<bool>,
}

impl Shutdown {
    /// Listens for SIGTERM and SIGINT. As process 1 these would otherwise be ignored.
    pub(crate) fn on_signals() -> std::io::Result<Shutdown> {
        let (stop, stopped) = watch::channel(false);
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("told to stop");
            stop.send_replace(true);
            // A second signal means that the user does not want to wait.
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(1);
        });
        Ok(Shutdown { stopped })
    }

    /// Waits for it.
    pub(crate) async fn wait(self) {
        let mut stopped = self.stopped;
        // The sender lives as long as the process.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }
}
