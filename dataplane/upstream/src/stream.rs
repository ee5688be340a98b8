//! A connection to an endpoint whose bytes are not HTTP for the gateway: those of a TCP or UDP route.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::client::TlsStream;

use crate::endpoint::{ConnectionSlot, Endpoint, InFlight};
use crate::limits::AVOID_AFTER_CONNECT_FAILURE;

/// A connection, in plaintext or with TLS.
#[derive(Debug)]
pub enum Stream {
    /// In plaintext.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// An open connection. It counts against its endpoint until it is dropped.
#[derive(Debug)]
pub struct Opened {
    /// The connection.
    pub stream: Stream,
    /// Where it leads.
    pub endpoint: SocketAddr,
    pub(crate) _slot: ConnectionSlot,
    pub(crate) _in_flight: InFlight,
}

/// A socket that sends to and receives from one endpoint. It counts against its endpoint until it is dropped.
#[derive(Debug)]
pub struct Datagrams {
    /// Connected to the endpoint.
    pub socket: UdpSocket,
    pub(crate) in_flight: InFlight,
}

impl Datagrams {
    /// The endpoint.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.in_flight.0
    }

    /// Nobody listens there; others are preferred for a while.
    pub fn refused(&self) {
        self.in_flight.0.avoid_for(AVOID_AFTER_CONNECT_FAILURE);
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
