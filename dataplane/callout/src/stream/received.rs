//! Messages of the service, cut out of the answer's body.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use agentgateway_upstream::Body;
use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, Response};
use http_body::Body as _;
use prost::Message;

use crate::frame::PREFIX;
use crate::{Error, status};

pub(super) struct Received {
    body: Body,
    /// What was read of messages that are not complete.
    read: BytesMut,
    max_message_bytes: usize,
    /// The head, where it says how the call ended: an answer without messages has no trailers.
    head: Option<HeaderMap>,
}

impl Received {
    pub(super) fn new(response: Response<Body>, max_message_bytes: usize) -> Received {
        let (head, body) = response.into_parts();
        let head = head.headers.contains_key("grpc-status").then_some(head.headers);
        Received { body, read: BytesMut::new(), max_message_bytes, head }
    }

    pub(super) fn poll_message<A: Message + Default>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<A>, Error>> {
        loop {
            if let Some(message) = self.whole()? {
                let message = A::decode(message).map_err(|e| Error::Answer(format!("a message of it: {e}")));
                return Poll::Ready(message.map(Some));
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => return Poll::Ready(self.end(None)),
                Some(Err(error)) => return Poll::Ready(Err(Error::Answer(format!("it broke off: {error}")))),
                Some(Ok(frame)) => frame,
            };
            match frame.into_data() {
                Ok(data) => self.read.extend_from_slice(&data),
                Err(other) => {
                    let trailers = other.into_trailers().unwrap_or_default();
                    return Poll::Ready(self.end(Some(&trailers)));
                }
            }
        }
    }

    /// The next message, when all of it is there. Never more is kept than one message and what came in one piece with it.
    fn whole(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(([compressed, length @ ..], _)) = self.read.split_first_chunk::<PREFIX>() else { return Ok(None) };
        if *compressed != 0 {
            return Err(Error::Answer("it is compressed, which nobody asked for".into()));
        }
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > self.max_message_bytes {
            let most = self.max_message_bytes;
            return Err(Error::Answer(format!("a message has {length} bytes; at most {most} are allowed")));
        }
        if self.read.len() < PREFIX + length {
            return Ok(None);
        }
        self.read.advance(PREFIX);
        Ok(Some(self.read.split_to(length).freeze()))
    }

    fn end<A>(&self, trailers: Option<&HeaderMap>) -> Result<Option<A>, Error> {
        match trailers.or(self.head.as_ref()) {
            Some(headers) => status::of(headers)?,
            None => return Err(Error::Answer("it ended without a grpc-status".into())),
        }
        if !self.read.is_empty() {
            return Err(Error::Answer("it ended within a message".into()));
        }
        Ok(None)
    }
}
