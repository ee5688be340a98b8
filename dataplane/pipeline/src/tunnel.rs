//! Bytes both ways between a client and a backend, after they have switched protocols.

use std::cell::Cell;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use agentgateway_upstream::Body;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};

use crate::connection::Counted;
use crate::limits::{TUNNEL_IDLE_TIMEOUT, UPGRADE_TIMEOUT};
use crate::tracked::Record;

/// A tunnel that begins when both sides have switched.
pub(crate) struct Tunnel {
    pub(crate) client: OnUpgrade,
    pub(crate) server: OnUpgrade,
    /// Counts the request against its endpoint.
    pub(crate) held: Body,
}

impl Tunnel {
    /// Starts a task that carries bytes; the request lasts, and the connection counts, until it ends.
    pub(crate) fn start(self, mut record: Record) {
        record.worker.metrics.upgrades.fetch_add(1, Ordering::Relaxed);
        tokio::task::spawn_local(async move {
            let counted = Counted::new(&record.worker);
            match self.run().await {
                Ok(bytes) => record.bytes = bytes,
                Err(error) => record.because(format!("tunnel_broken: {error}")),
            }
            drop(record);
            drop(counted);
        });
    }

    /// Carries bytes until both sides have ended, one breaks, or nothing moves for a long time. Gives the bytes that went
    /// to the client.
    async fn run(self) -> Result<u64, io::Error> {
        let Tunnel { client, server, held } = self;
        let both = tokio::time::timeout(UPGRADE_TIMEOUT, async { tokio::try_join!(client, server) });
        let (client, server) = both.await?.map_err(io::Error::other)?;
        let carried = carry(TokioIo::new(client), TokioIo::new(server), TUNNEL_IDLE_TIMEOUT).await;
        drop(held);
        carried
    }
}

async fn carry<C, S>(client: C, server: S, idle: Duration) -> Result<u64, io::Error>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let moved = Cell::new(false);
    let (mut client, mut server) = (Watched { io: client, moved: &moved }, Watched { io: server, moved: &moved });
    let mut copy = pin!(copy_bidirectional(&mut client, &mut server));
    // One timer that looks back, not one that each byte would have to set again.
    loop {
        tokio::select! {
            done = &mut copy => return done.map(|(_, to_client)| to_client),
            () = tokio::time::sleep(idle) => {
                if !moved.replace(false) {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was sent for too long"));
                }
            }
        }
    }
}

/// A connection that tells whether anything was read from it.
struct Watched<'a, T> {
    io: T,
    moved: &'a Cell<bool>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<'_, T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        if read.is_ready() {
            self.moved.set(true);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<'_, T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn each_side_may_end_first() {
        let ((mut client, near), (far, mut server)) = (duplex(64), duplex(64));
        let talk = async {
            client.write_all(b"question").await.expect("writes");
            client.shutdown().await.expect("ends");
            let mut asked = String::new();
            server.read_to_string(&mut asked).await.expect("reads to the end");
            server.write_all(asked.to_uppercase().as_bytes()).await.expect("writes");
            drop(server);
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.expect("reads to the end");
            answer
        };
        let (carried, answer) = tokio::join!(carry(near, far, Duration::from_secs(5)), talk);
        assert_eq!((carried.expect("ends well"), answer.as_str()), (8, "QUESTION"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_tunnel_is_closed_and_one_that_speaks_is_not() {
        let ((mut client, near), (far, mut server)) = (duplex(64), duplex(64));
        let start = tokio::time::Instant::now();
        let speak = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(8)).await;
                client.write_all(b"x").await.expect("is open");
                server.read_u8().await.expect("is open");
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            carried = carry(near, far, Duration::from_secs(10)) => {
                assert_eq!(carried.expect_err("is silent").kind(), io::ErrorKind::TimedOut);
            }
            () = speak => unreachable!(),
        }
        let lasted = start.elapsed().as_secs();
        assert!((50..=60).contains(&lasted), "{lasted}");
    }
}
