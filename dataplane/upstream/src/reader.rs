//! Reads what an endpoint shows of itself, again and again over one connection, on the background thread.

use std::pin::Pin;
use std::sync::Arc;

use agentgateway_tls::Offer;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, StatusCode, Uri, Version, header};
use http_body::Body as _;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::address::AddressRules;
use crate::dial::dial;
use crate::endpoint::{Endpoint, Protocol};
use crate::limits;

type Nothing = Empty<Bytes>;

/// A kept connection to one endpoint.
#[derive(Debug)]
pub struct Reader {
    endpoint: Arc<Endpoint>,
    rules: Arc<AddressRules>,
    sender: Option<Sender>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Nothing>),
    Http2(http2::SendRequest<Nothing>),
}

impl Reader {
    /// Connects with the first question.
    pub fn new(endpoint: Arc<Endpoint>, rules: Arc<AddressRules>) -> Reader {
        Reader { endpoint, rules, sender: None }
    }

    /// Gets `path`, and gives the body to `take` piece by piece until that says that it has enough. Has no limit of time. The
    /// connection is kept only when the answer was read to its end.
    ///
    /// # Errors
    /// Why there is no answer that can be used, for the operator.
    pub async fn get(&mut self, path: &PathAndQuery, mut take: impl FnMut(&[u8]) -> bool) -> Result<(), String> {
        // Taken out: what breaks off, or is dropped here, leaves no connection that is in the middle of an answer.
        let mut sender = match self.sender.take().filter(Sender::is_open) {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let response = sender.send(self.request(path, matches!(sender, Sender::Http2(_)))?).await?;
        if response.status() != StatusCode::OK {
            return Err(format!("it answered {}", response.status()));
        }
        let mut body = response.into_body();
        while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let frame = frame.map_err(|error| error.to_string())?;
            if let Some(data) = frame.data_ref()
                && !take(data)
            {
                return Ok(());
            }
        }
        self.sender = Some(sender);
        Ok(())
    }

    async fn connect(&self) -> Result<Sender, String> {
        let speaks_http2 = self.endpoint.protocol() == Protocol::Http2;
        let offer = if speaks_http2 { Offer::Http2 } else { Offer::Http1 };
        let tls = self.endpoint.tls().map(|tls| (tls.as_ref(), offer));
        let dialled = dial(&self.endpoint, &self.rules, tls, None).await;
        let (stream, slot) = dialled.map_err(|error| error.to_string())?;
        let (io, failed) = (TokioIo::new(stream), |error: hyper::Error| error.to_string());
        if speaks_http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.map_err(failed)?;
            tokio::spawn(async move {
                let _closed = connection.await;
                drop(slot);
            });
            Ok(Sender::Http2(sender))
        } else {
            let handshake = http1::Builder::new().max_buf_size(limits::MAX_RESPONSE_HEAD).handshake(io);
            let (sender, connection) = handshake.await.map_err(failed)?;
            tokio::spawn(async move {
                let _closed = connection.await;
                drop(slot);
            });
            Ok(Sender::Http1(sender))
        }
    }

    fn request(&self, path: &PathAndQuery, http2: bool) -> Result<Request<Nothing>, String> {
        let mut request = Request::new(Nothing::new());
        let address = self.endpoint.address().to_string();
        if http2 {
            let scheme = if self.endpoint.tls().is_some() { "https" } else { "http" };
            let uri = Uri::builder().scheme(scheme).authority(address).path_and_query(path.clone()).build();
            *request.uri_mut() = uri.map_err(|error| error.to_string())?;
            *request.version_mut() = Version::HTTP_2;
        } else {
            *request.uri_mut() = Uri::from(path.clone());
            let host = HeaderValue::from_str(&address).map_err(|error| error.to_string())?;
            request.headers_mut().insert(header::HOST, host);
        }
        Ok(request)
    }
}

impl Sender {
    fn is_open(&self) -> bool {
        match self {
            Sender::Http1(sender) => !sender.is_closed(),
            Sender::Http2(sender) => !sender.is_closed(),
        }
    }

    async fn send(&mut self, request: Request<Nothing>) -> Result<http::Response<Incoming>, String> {
        let answered = match self {
            Sender::Http1(sender) => {
                sender.ready().await.map_err(|error| error.to_string())?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => sender.send_request(request).await,
        };
        answered.map_err(|error| error.to_string())
    }
}
