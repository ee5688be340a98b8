//! Bodies of requests that are read whole before the request goes on: a backend gets a request only when all of it is there, and none
//! that is too large.

use agentgateway_proto::v1;

use crate::body::Reading;
use crate::{Reach, Reason, Reply};

/// A compiled policy.
#[derive(Debug)]
pub(crate) struct RequestBuffer(Reading);

impl RequestBuffer {
    pub(crate) fn compile(spec: &v1::RequestBuffer) -> Result<RequestBuffer, String> {
        match usize::try_from(spec.max_bytes) {
            Ok(limit) if limit > 0 => Ok(RequestBuffer(Reading { limit, partial: false })),
            _ => Err(format!("{} is no size of a body", spec.max_bytes)),
        }
    }

    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub(crate) async fn on_request(&self, reach: &mut Reach<'_>) -> Result<(), Reply> {
        let refused = match self.0.read(reach.body).await {
            Ok(_) => return Ok(()),
            Err(refused) => refused,
        };
        Err(Reply::new(refused.status(), refused.text(), Reason::BodyNotBuffered(refused.text())))
    }
}

#[cfg(test)]
mod tests {
    use agentgateway_upstream::Body;
    use bytes::Bytes;
    use http_body::Body as _;

    use super::*;
    use crate::testing::Nothing;

    #[tokio::test]
    async fn a_body_is_there_whole_or_refused() {
        let policy = RequestBuffer::compile(&v1::RequestBuffer { max_bytes: 4 }).expect("compiles");
        for (text, expected) in [("", None), ("abcd", None), ("abcde", Some(413))] {
            let mut body = Some(Body::from(Bytes::from_static(text.as_bytes())));
            let mut reach = Reach { services: &Nothing, body: &mut body };
            let status = policy.on_request(&mut reach).await.err().map(|reply| reply.response.status().as_u16());
            assert_eq!(status, expected, "{text}");
            assert_eq!(body.expect("is left").size_hint().exact(), Some(text.len() as u64));
        }
        assert!(RequestBuffer::compile(&v1::RequestBuffer { max_bytes: 0 }).is_err());
    }
}
