//! Carries bytes both ways between two connections, each at the pace of its reader, until both ways have ended.
//!
//! Bytes pass through one buffer of the thread. A stream has memory of its own only while its reader is slower than its writer.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::registry::Connection;
use crate::limits::STREAM_BUFFER;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; STREAM_BUFFER].into());
}

/// Two connections; `moved` is told of bytes, and whether they came from the first.
pub(super) struct Relay<D, U, F> {
    client: D,
    server: U,
    up: Way,
    down: Way,
    moved: F,
}

/// One way. When its source ends, its target is told so and may still send: half of a TCP connection can be closed.
#[derive(Default)]
struct Way {
    /// Bytes that the target did not take yet, from `written` on.
    waiting: Vec<u8>,
    written: usize,
    source_ended: bool,
    unflushed: bool,
    done: bool,
}

impl<D, U, F> Relay<D, U, F> {
    /// `read` is sent to the server first.
    pub(super) fn new(client: D, server: U, read: Vec<u8>, mut moved: F) -> Self
    where
        F: FnMut(bool, u64),
    {
        if !read.is_empty() {
            moved(true, read.len() as u64);
        }
        Relay { client, server, up: Way { waiting: read, ..Way::default() }, down: Way::default(), moved }
    }
}

impl Way {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut source: Pin<&mut (impl AsyncRead + ?Sized)>,
        mut target: Pin<&mut (impl AsyncWrite + ?Sized)>,
        buffer: &mut [u8],
        moved: &mut impl FnMut(u64),
    ) -> Poll<io::Result<()>> {
        loop {
            while let Some(bytes) = self.waiting.get(self.written..).filter(|b| !b.is_empty()) {
                self.written += some(ready!(target.as_mut().poll_write(cx, bytes))?)?;
                self.unflushed = true;
            }
            (self.waiting, self.written) = (Vec::new(), 0);
            if self.source_ended {
                break;
            }
            let mut read = ReadBuf::new(buffer);
            let Poll::Ready(result) = source.as_mut().poll_read(cx, &mut read) else {
                // Nothing more comes for now: what TLS holds back must go out.
                if self.unflushed {
                    ready!(target.as_mut().poll_flush(cx))?;
                    self.unflushed = false;
                }
                return Poll::Pending;
            };
            result?;
            let bytes = read.filled();
            self.source_ended = bytes.is_empty();
            if self.source_ended {
                continue;
            }
            moved(bytes.len() as u64);
            let taken = match target.as_mut().poll_write(cx, bytes) {
                Poll::Ready(written) => some(written?)?,
                Poll::Pending => 0,
            };
            self.unflushed = true;
            self.waiting = bytes.get(taken..).unwrap_or_default().to_vec();
        }
        ready!(target.as_mut().poll_shutdown(cx))?;
        self.done = true;
        Poll::Ready(Ok(()))
    }
}

/// A target that takes nothing will never take anything.
fn some(written: usize) -> io::Result<usize> {
    if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) }
}

impl<D, U, F> Future for Relay<D, U, F>
where
    D: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
    F: FnMut(bool, u64) + Unpin,
{
    /// Which side broke, and how.
    type Output = Result<(), String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Relay { client, server, up, down, moved } = &mut *self;
        BUFFER.with_borrow_mut(|buffer| {
            if !up.done {
                let (source, target) = (Pin::new(&mut *client), Pin::new(&mut *server));
                if let Poll::Ready(Err(error)) = up.poll(cx, source, target, buffer, &mut |n| moved(true, n)) {
                    return Poll::Ready(Err(format!("broke off on the way to the backend: {error}")));
                }
            }
            if !down.done {
                let (source, target) = (Pin::new(server), Pin::new(client));
                if let Poll::Ready(Err(error)) = down.poll(cx, source, target, buffer, &mut |n| moved(false, n)) {
                    return Poll::Ready(Err(format!("broke off on the way to the client: {error}")));
                }
            }
            if up.done && down.done { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
    }
}

impl<D, U, F> Connection for Relay<D, U, F>
where
    D: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
    F: FnMut(bool, u64) + Unpin,
{
    /// Nothing in a stream can be ended in order; it has until the drain's time is over.
    fn shut_down(self: Pin<&mut Self>) {}
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn each_way_ends_by_itself_and_what_was_read_before_comes_first() {
        let ((mut client, near), (far, mut server)) = (duplex(8), duplex(8));
        let (up, down) = (Cell::new(0), Cell::new(0));
        let relay = Relay::new(near, far, b"before ".to_vec(), |from_client, count| {
            let counter = if from_client { &up } else { &down };
            counter.set(counter.get() + count);
        });
        let talk = async {
            client.write_all(b"and after").await.expect("writes");
            client.shutdown().await.expect("ends");
            let mut asked = String::new();
            server.read_to_string(&mut asked).await.expect("reads to the end");
            server.write_all(b"an answer").await.expect("writes");
            drop(server);
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.expect("reads to the end");
            (asked, answer)
        };
        let (carried, (asked, answer)) = tokio::join!(relay, talk);
        assert_eq!(carried, Ok(()));
        assert_eq!((asked.as_str(), answer.as_str()), ("before and after", "an answer"));
        assert_eq!((up.get(), down.get()), (16, 9));
    }

    #[tokio::test]
    async fn a_reader_that_waits_holds_the_writer() {
        let ((mut client, near), (far, mut server)) = (duplex(64), duplex(64));
        let mut relay = std::pin::pin!(Relay::new(near, far, Vec::new(), |_, _| {}));
        let sent = Cell::new(0usize);
        let write = async {
            loop {
                client.write_all(&[0; 64]).await.expect("writes");
                sent.set(sent.get() + 64);
            }
        };
        tokio::select! {
            _ = &mut relay => unreachable!(),
            () = write => unreachable!(),
            () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
        }
        assert!(sent.get() <= STREAM_BUFFER + 3 * 64, "{} bytes were taken that nobody reads", sent.get());
        let mut piece = vec![0; sent.get()];
        tokio::select! {
            _ = &mut relay => unreachable!(),
            read = server.read_exact(&mut piece) => assert!(read.is_ok()),
        }
    }
}
