//! One gRPC call with messages both ways, such as [`PROCESS`](crate::processor::PROCESS).
//!
//! ```text
//! let mut stream = Stream::open(&upstream, &cluster, processor::PROCESS, None, MAX_MESSAGE_BYTES);
//! stream.send(&question);                 // queued at once, sent as soon as there is a connection
//! let answer = stream.recv().await?;      // None: the service has ended the call with status OK
//! stream.finish();                        // no more questions; answers may still come
//! drop(stream);                           // cancels what is not over
//! ```
//!
//! Nothing orders the two directions: a service may answer before, while or long after it is asked, and may end the call at any
//! time. Whoever sends many messages waits for room with [`Stream::ready`] and reads answers meanwhile, as in
//! `tokio::select!` or by [`Stream::poll_ready`] and [`Stream::poll_recv`]; a service that reads nothing
//! until its answers are read would otherwise wait for ever. There are no timers in it.

mod queue;
mod received;

use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use agentgateway_upstream::{Body, Cluster, Upstream};
use http::{HeaderValue, Response};
use prost::Message;
use tokio::task::JoinHandle;

use self::queue::Sender;
use self::received::Received;
use crate::exchange::send;
use crate::{Error, frame, status, unary};

/// A call on the worker that opened it: questions `Q` there, answers `A` back. Dropping it cancels the call, unless it is over.
pub struct Stream<Q, A> {
    questions: Sender,
    answers: Answers,
    max_message_bytes: usize,
    types: PhantomData<fn(Q) -> A>,
}

enum Answers {
    /// The head of the answer is not there yet.
    Opening(Opening),
    Open(Box<Received>),
    /// Nothing more comes.
    Over,
}

/// A task of its own, so that questions go out also while nobody asks for answers.
struct Opening(JoinHandle<Result<Response<Body>, Error>>);

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<Q: Message, A: Message + Default> Stream<Q, A> {
    /// Opens a call of the method at `path`, "/package.Service/Method", without waiting for anything: what goes wrong is told
    /// by the next [`Stream::recv`] or [`Stream::ready`]. The cluster must speak HTTP/2. `authority` is the name under which the
    /// service is asked; None for that of the cluster. Larger answers than `max_message_bytes` are an error.
    pub fn open(
        upstream: &Upstream,
        cluster: &Arc<Cluster>,
        path: &'static str,
        authority: Option<&HeaderValue>,
        max_message_bytes: usize,
    ) -> Stream<Q, A> {
        let (questions, body) = queue::pair();
        let request = unary::head(path, authority).map(|()| Body::stream(body));
        let (upstream, cluster) = (upstream.clone(), Arc::clone(cluster));
        let opening = tokio::task::spawn_local(async move { send(&upstream, &cluster, request).await });
        let answers = Answers::Opening(Opening(opening));
        Stream { questions, answers, max_message_bytes, types: PhantomData }
    }

    /// Queues a message. It does not wait: what is sent without [`Stream::ready`] must be bounded otherwise.
    pub fn send(&mut self, question: &Q) {
        self.questions.push(frame::encode(question));
    }

    /// Bytes of messages that wait to be sent; None when nothing is sent any more.
    pub fn waiting_bytes(&self) -> Option<usize> {
        self.questions.waiting_bytes()
    }

    /// Waits until few bytes of messages wait to be sent.
    ///
    /// # Errors
    /// The call is over or failed.
    pub async fn ready(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_ready(cx)).await
    }

    /// See [`Stream::ready`].
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // What went wrong is better than that it did.
        if let Poll::Ready(Err(error)) = self.poll_open(cx) {
            return Poll::Ready(Err(error));
        }
        match self.questions.poll_room(cx) {
            Poll::Ready(true) => Poll::Ready(Ok(())),
            Poll::Ready(false) => Poll::Ready(Err(Error::Answer("the call is over".into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Tells the service that no more messages come. Answers may still.
    pub fn finish(&mut self) {
        self.questions.finish();
    }

    /// The next message of the service; None when it has ended the call with status OK.
    ///
    /// # Errors
    /// The call failed, or the message is none. Nothing more comes then.
    pub async fn recv(&mut self) -> Result<Option<A>, Error> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// See [`Stream::recv`].
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<A>, Error>> {
        ready!(self.poll_open(cx))?;
        let Answers::Open(received) = &mut self.answers else { return Poll::Ready(Ok(None)) };
        let next = ready!(received.poll_message(cx));
        if !matches!(next, Ok(Some(_))) {
            self.answers = Answers::Over;
        }
        Poll::Ready(next)
    }

    /// Waits for the head of the answer. Services may send it as late as with their first message.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Answers::Opening(opening) = &mut self.answers else { return Poll::Ready(Ok(())) };
        let opened = ready!(Pin::new(&mut opening.0).poll(cx));
        let opened = opened.unwrap_or_else(|_| Err(Error::Answer("the call was given up".into())));
        let opened = opened.and_then(|response| {
            status::of_head(response.status())?;
            Ok(response)
        });
        match opened {
            Ok(response) => {
                self.answers = Answers::Open(Box::new(Received::new(response, self.max_message_bytes)));
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                self.answers = Answers::Over;
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<Q, A> std::fmt::Debug for Stream<Q, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.answers {
            Answers::Opening(_) => "Stream(opening)",
            Answers::Open(_) => "Stream(open)",
            Answers::Over => "Stream(over)",
        })
    }
}

#[cfg(test)]
mod tests;
