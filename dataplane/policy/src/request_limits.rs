//! Limits of requests themselves: the size of their bodies, also of those that are streamed, and their headers.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use agentgateway_proto::v1;
use agentgateway_upstream::{Body, BoxError, discard};
use bytes::Bytes;
use http::request::Parts;
use http::{StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};

use crate::{Reason, Reply, RequestContext};

/// A compiled policy; what is not limited is as large as can be.
#[derive(Debug)]
pub(crate) struct RequestLimits {
    max_body: u64,
    max_header_bytes: usize,
    max_headers: usize,
}

impl RequestLimits {
    pub(crate) fn compile(spec: &v1::RequestLimits) -> Result<RequestLimits, String> {
        if spec.max_body_bytes == 0 && spec.max_header_bytes == 0 && spec.max_headers == 0 {
            return Err("it limits nothing".into());
        }
        let or_any = |limit: u32| usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        Ok(RequestLimits {
            max_body: if spec.max_body_bytes == 0 { u64::MAX } else { spec.max_body_bytes },
            max_header_bytes: or_any(spec.max_header_bytes),
            max_headers: or_any(spec.max_headers),
        })
    }

    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub(crate) fn on_request(
        &self,
        head: &Parts,
        context: &mut RequestContext,
        body: &mut Option<Body>,
    ) -> Result<(), Reply> {
        if head.headers.len() > self.max_headers {
            return Err(headers_too_large("the request has too many headers"));
        }
        if self.max_header_bytes < usize::MAX {
            let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
            if bytes > self.max_header_bytes {
                return Err(headers_too_large("the request's headers are too large"));
            }
        }
        let Some(reader) = body.as_ref().filter(|body| self.max_body < u64::MAX && !body.is_end_stream()) else {
            return Ok(());
        };
        let length = head.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        match length.or_else(|| reader.size_hint().exact()) {
            Some(length) if length > self.max_body => return Err(body_too_large()),
            // A body is never longer than it says.
            Some(_) => return Ok(()),
            None => {}
        }
        if let Some(inner) = body.take() {
            let overflow = Arc::clone(context.overflow.get_or_insert_default());
            *body = Some(Body::stream(Limited { inner, left: self.max_body, overflow }));
        }
        Ok(())
    }
}

/// The answer to a request whose body is too large.
pub(crate) fn body_too_large() -> Reply {
    let text = "the request's body is too large";
    Reply::new(StatusCode::PAYLOAD_TOO_LARGE, text, Reason::TooLarge(text))
}

fn headers_too_large(text: &'static str) -> Reply {
    Reply::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text, Reason::TooLarge(text))
}

/// A body of unknown length that breaks off where it is too large.
struct Limited {
    inner: Body,
    left: u64,
    overflow: Arc<AtomicBool>,
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.overflow.load(Ordering::Relaxed) {
            return Poll::Ready(Some(Err("the body is too large".into())));
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(data)) = frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
            let length = data.map_or(0, |data| data.len() as u64);
            match self.left.checked_sub(length) {
                Some(left) => self.left = left,
                None => {
                    self.overflow.store(true, Ordering::Relaxed);
                    // The client still sends, and is to read the answer.
                    discard(std::mem::take(&mut self.inner));
                    return Poll::Ready(Some(Err("the body is too large".into())));
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::testing::{context, request};

    /// Pieces of a body whose length nobody knows.
    struct Pieces(VecDeque<usize>);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Ready(self.0.pop_front().map(|n| Ok(Frame::data(vec![0; n].into()))))
        }
    }

    fn limits(max_body_bytes: u64, max_header_bytes: u32, max_headers: u32) -> RequestLimits {
        let spec = v1::RequestLimits { max_body_bytes, max_header_bytes, max_headers };
        RequestLimits::compile(&spec).expect("compiles")
    }

    fn status(limits: &RequestLimits, headers: &[(&str, &str)], body: Option<Body>) -> u16 {
        let passed = limits.on_request(&request("POST", "/", headers), &mut context(), &mut { body });
        passed.map_or_else(|reply| reply.response.status().as_u16(), |()| 200)
    }

    #[test]
    fn headers_are_counted_and_measured() {
        let three = [("a", "1"), ("b", "22"), ("ccc", "333")];
        assert_eq!(status(&limits(0, 0, 3), &three, None), 200);
        assert_eq!(status(&limits(0, 0, 2), &three, None), 431);
        assert_eq!(status(&limits(0, 11, 0), &three, None), 200);
        assert_eq!(status(&limits(0, 10, 0), &three, None), 431);
    }

    #[test]
    fn a_body_that_says_how_long_it_is_is_refused_before_it_is_read() {
        let body = || Some(Body::stream(Pieces(VecDeque::from([100]))));
        assert_eq!(status(&limits(100, 0, 0), &[("content-length", "100")], body()), 200);
        assert_eq!(status(&limits(99, 0, 0), &[("content-length", "100")], body()), 413);
        assert_eq!(status(&limits(99, 0, 0), &[], Some(Bytes::from(vec![0; 100]).into())), 413);
        assert_eq!(status(&limits(99, 0, 0), &[], Some(Body::Empty)), 200);
    }

    #[tokio::test]
    async fn a_streamed_body_breaks_off_and_the_request_knows() {
        tokio::task::LocalSet::new().run_until(streams()).await;
    }

    async fn streams() {
        for (pieces, exceeded) in [(vec![40, 40, 20], false), (vec![40, 40, 21], true)] {
            let (mut context, mut body) = (context(), Some(Body::stream(Pieces(pieces.into()))));
            assert!(limits(100, 0, 0).on_request(&request("POST", "/", &[]), &mut context, &mut body).is_ok());
            let mut body = body.expect("is there");
            let (mut read, mut failed) = (0, false);
            while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                match frame {
                    Ok(frame) => read += frame.data_ref().map_or(0, Bytes::len),
                    Err(_) => {
                        failed = true;
                        break;
                    }
                }
            }
            assert!(read <= 100);
            assert_eq!((failed, context.refusal_of_body().is_some()), (exceeded, exceeded));
        }
    }

    #[test]
    fn a_policy_that_limits_nothing_does_not_compile() {
        assert!(RequestLimits::compile(&v1::RequestLimits::default()).is_err());
    }
}
