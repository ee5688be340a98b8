//! How the gateway authenticates to the backend of a request.

use std::pin::Pin;
use std::sync::Arc;

use agentgateway_policy::{BackendAuthentication, Chain, PayloadHash, RequestContext};
use agentgateway_upstream::{Blame, Body};
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::request::Parts;
use http_body::Body as _;

use crate::Error;
use crate::limits::MAX_SIGNED_BODY;

/// What the most specific chain says.
#[derive(Clone)]
pub(crate) struct Authentication(Arc<BackendAuthentication>);

/// A signature that is made when the head is as it will be sent.
pub(crate) struct Signature {
    by: Arc<BackendAuthentication>,
    payload: Option<PayloadHash>,
}

impl Authentication {
    /// `passed` are the chains of the request, the most specific last.
    pub(crate) fn of<'a>(passed: impl DoubleEndedIterator<Item = &'a Arc<Chain>>) -> Option<Authentication> {
        passed.rev().find_map(|chain| chain.backend_auth()).map(|auth| Authentication(Arc::clone(auth)))
    }

    /// Gives the head its credentials. A body that is signed is read whole.
    pub(crate) async fn apply(
        self,
        head: &mut Parts,
        body: &mut Body,
        context: &RequestContext,
    ) -> Result<Option<Signature>, Error> {
        self.0.apply(head, context);
        let payload = match self.0.signer() {
            None => return Ok(None),
            Some(signer) if signer.needs_body() => {
                let (bytes, hash) = Box::pin(read(std::mem::take(body))).await?;
                *body = bytes.into();
                Some(hash)
            }
            Some(_) => None,
        };
        Ok(Some(Signature { by: self.0, payload }))
    }
}

impl Signature {
    pub(crate) fn put(&self, head: &mut Parts) {
        if let Some(signer) = self.by.signer() {
            signer.sign(head, self.payload.as_ref());
        }
    }
}

async fn read(mut body: Body) -> Result<(Bytes, PayloadHash), Error> {
    let (mut all, mut hash) = (BytesMut::new(), PayloadHash::default());
    let refuse = |status, reason, message: &str| {
        Err(Error::Protocol { blame: Blame::Client, status, reason, message: message.to_owned().into() })
    };
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(frame) = frame else {
            return refuse(StatusCode::BAD_REQUEST, "body_broke_off", "the body broke off before it was signed");
        };
        let Ok(data) = frame.into_data() else { continue };
        if all.len() + data.len() > MAX_SIGNED_BODY {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is too large to be signed");
        }
        hash.update(&data);
        all.extend_from_slice(&data);
    }
    Ok((all.freeze(), hash))
}
