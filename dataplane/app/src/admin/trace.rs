//! `/trace`: the steps of single requests, as lines of JSON while they happen.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use agentgateway_telemetry::live::{Filter, Watching, watch};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use tokio::time::Sleep;

const DEFAULT_REQUESTS: u32 = 10;
const MAX_REQUESTS: u32 = 1000;
const DEFAULT_SECONDS: u64 = 30;
const MAX_SECONDS: u64 = 600;

/// Who asks from elsewhere gets nothing, whatever address the port has.
pub(super) fn answer<B>(request: &Request<B>, peer: IpAddr) -> Response<Lines> {
    if !peer.to_canonical().is_loopback() {
        return refused(StatusCode::FORBIDDEN, "only from this machine, as by kubectl port-forward\n".into());
    }
    if request.method() != Method::GET {
        return refused(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
    }
    let asked = match Asked::parse(request.uri().query().unwrap_or_default()) {
        Ok(asked) => asked,
        Err(why) => return refused(StatusCode::BAD_REQUEST, format!("{why}\n")),
    };
    let time = Duration::from_secs(asked.seconds);
    let Some(watching) = watch(asked.filter, asked.requests, time) else {
        return refused(StatusCode::TOO_MANY_REQUESTS, "too many watch already\n".into());
    };
    let over = Box::pin(tokio::time::sleep(time));
    let mut response = Response::new(Lines::Steps { watching, over });
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn refused(status: StatusCode, text: String) -> Response<Lines> {
    let mut response = Response::new(Lines::Text(Some(text.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

#[derive(Debug, PartialEq, Eq)]
struct Asked {
    filter: Filter,
    requests: u32,
    seconds: u64,
}

impl Asked {
    fn parse(query: &str) -> Result<Asked, String> {
        let mut asked = Asked { filter: Filter::default(), requests: DEFAULT_REQUESTS, seconds: DEFAULT_SECONDS };
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match name {
                "host" => asked.filter.host = Some(value.to_owned()),
                // Paths are compared as they were sent, so nothing is decoded.
                "path" => asked.filter.path = value.to_owned(),
                "limit" => asked.requests = number(name, value, MAX_REQUESTS.into())?,
                "seconds" => asked.seconds = number(name, value, MAX_SECONDS)?,
                _ => return Err(format!("{name:?} is not known; host, path, limit and seconds are")),
            }
        }
        Ok(asked)
    }
}

fn number<N: TryFrom<u64>>(name: &str, value: &str, most: u64) -> Result<N, String> {
    let parsed = value.parse::<u64>().ok().filter(|n| (1..=most).contains(n)).and_then(|n| N::try_from(n).ok());
    parsed.ok_or_else(|| format!("{name} must be a number from 1 to {most}"))
}

/// A text, or steps until the last request has ended or the time is over.
pub(super) enum Lines {
    Text(Option<Bytes>),
    Steps { watching: Watching, over: Pin<Box<Sleep>> },
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match &mut *self {
            Lines::Text(text) => text.take(),
            Lines::Steps { watching, over } => match watching.poll_line(cx) {
                Poll::Ready(line) => line.map(Bytes::from),
                Poll::Pending => {
                    ready!(over.as_mut().poll(cx));
                    None
                }
            },
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_bounded() {
        let filter = Filter { host: Some("a.test".into()), path: "/b".into() };
        assert_eq!(
            Asked::parse("host=a.test&path=/b&limit=3&seconds=5"),
            Ok(Asked { filter, requests: 3, seconds: 5 })
        );
        let default = Asked { filter: Filter::default(), requests: DEFAULT_REQUESTS, seconds: DEFAULT_SECONDS };
        assert_eq!(Asked::parse(""), Ok(default));
        for wrong in ["limit=0", "limit=1001", "seconds=601", "seconds=x", "hots=a"] {
            assert!(Asked::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_is_shown_to_other_machines() {
        let request = Request::get("/trace").body(()).expect("a request");
        let status = |peer: &str| answer(&request, peer.parse().expect("an address")).status();
        assert_eq!((status("10.0.0.1"), status("::ffff:10.0.0.1")), (StatusCode::FORBIDDEN, StatusCode::FORBIDDEN));
    }
}
