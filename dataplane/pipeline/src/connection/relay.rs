//! Carries bytes both ways between two connections, each at the pace of its reader, until both ways have ended.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::registry::Connection;
use crate::limits::STREAM_BUFFER;

/// Two connections; `moved` is told of bytes, and whether they came from the first.
pub(super) struct Relay<D, U, F> {
    client: D,
    server: U,
    up: Way,
    down: Way,
    moved: F,
}

/// One way. When its source ends, its target is told so and may still send: half of a TCP connection can be closed.
struct Way {
    buffer: Box<[u8]>,
    /// Bytes in the buffer that are not written.
    start: usize,
    end: usize,
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
        let (up, down) = (Way::new(read), Way::new(Vec::new()));
        Relay { client, server, up, down, moved }
    }
}

impl Way {
    fn new(mut read: Vec<u8>) -> Self {
        let end = read.len();
        read.resize(end.max(STREAM_BUFFER), 0);
        Way { buffer: read.into(), start: 0, end, source_ended: false, unflushed: false, done: false }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut source: Pin<&mut (impl AsyncRead + ?Sized)>,
        mut target: Pin<&mut (impl AsyncWrite + ?Sized)>,
        moved: &mut impl FnMut(u64),
    ) -> Poll<io::Result<()>> {
        loop {
            while let Some(bytes) = self.buffer.get(self.start..self.end).filter(|b| !b.is_empty()) {
                let written = ready!(target.as_mut().poll_write(cx, bytes))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.start += written;
                self.unflushed = true;
            }
            if self.source_ended {
                break;
            }
            let mut buffer = ReadBuf::new(&mut self.buffer);
            match source.as_mut().poll_read(cx, &mut buffer) {
                Poll::Ready(result) => {
                    result?;
                    let read = buffer.filled().len();
                    (self.start, self.end, self.source_ended) = (0, read, read == 0);
                    moved(read as u64);
                }
                Poll::Pending => {
                    // Nothing more comes for now: what TLS holds back must go out.
                    if self.unflushed {
                        ready!(target.as_mut().poll_flush(cx))?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
        ready!(target.as_mut().poll_shutdown(cx))?;
        self.done = true;
        Poll::Ready(Ok(()))
    }
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
        if !up.done
            && let Poll::Ready(Err(error)) =
                up.poll(cx, Pin::new(&mut *client), Pin::new(&mut *server), &mut |count| moved(true, count))
        {
            return Poll::Ready(Err(format!("broke off on the way to the backend: {error}")));
        }
        if !down.done
            && let Poll::Ready(Err(error)) =
                down.poll(cx, Pin::new(server), Pin::new(client), &mut |count| moved(false, count))
        {
            return Poll::Ready(Err(format!("broke off on the way to the client: {error}")));
        }
        if up.done && down.done { Poll::Ready(Ok(())) } else { Poll::Pending }
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
