//! The endpoint-picker protocol of the Gateway API Inference Extension (version 1.0.0): a processor that says to which endpoints of
//! a pool a request may go, and that is told which one served it.

use std::net::SocketAddr;

use agentgateway_proto::v1;
use agentgateway_upstream::Body;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Response};
use serde_json::{Map, Value};

use super::ExternalProcessing;
use crate::{Reach, Reason, Reply, RequestContext};

/// Names the endpoints, the best first, in the picker's answer about headers and in the metadata that it leaves.
const DESTINATION: HeaderName = HeaderName::from_static("x-gateway-destination-endpoint");
/// Where it leaves them, and where it finds which one served the request.
const LOAD_BALANCER: &str = "envoy.lb";
const SERVED: &str = "x-gateway-destination-endpoint-served";
/// Where earlier policies leave a part of the pool that the picker has to choose from.
const SUBSET: &str = "envoy.lb.subset_hint";
/// A picker may hold a request until there is a place for it.
const PATIENCE_MILLISECONDS: u64 = 60_000;
/// Of one answer; more are left out.
const MAX_ENDPOINTS: usize = 64;

/// A picker of another process.
#[derive(Debug)]
pub struct EndpointPicker(ExternalProcessing);

/// Why there are no endpoints.
#[derive(Debug)]
pub enum NotPicked {
    /// The picker answers the request itself.
    Answered(Reply),
    /// It cannot be asked, or what it says is no answer; for the log.
    Failed(String),
}

impl EndpointPicker {
    /// `backend_key` is the backend that is asked, over HTTP/2; `origin` names the pool in the log.
    ///
    /// # Errors
    /// The backend is none.
    pub fn compile(backend_key: &str, origin: &str) -> Result<EndpointPicker, String> {
        use v1::external_processing::{Body, Mode};
        let mode = Mode {
            request_body: Body::FullDuplexStreamed.into(),
            response_body: Body::FullDuplexStreamed.into(),
            ..Mode::default()
        };
        let spec = v1::ExternalProcessing {
            backend_key: backend_key.to_owned(),
            mode: Some(mode),
            message_timeout_milliseconds: Some(PATIENCE_MILLISECONDS),
            forwarded_metadata: vec![LOAD_BALANCER.to_owned(), SUBSET.to_owned()],
            ..v1::ExternalProcessing::default()
        };
        ExternalProcessing::compile(&spec, origin, true).map(EndpointPicker)
    }

    /// Asks for the endpoints of a request, the best first. What the picker changes of the request is changed; its body is what the
    /// picker gives back, and is not to be had again where this fails.
    ///
    /// # Errors
    /// There are none.
    pub async fn pick(
        &self,
        head: &mut Parts,
        context: &mut RequestContext,
        reach: &mut Reach<'_>,
    ) -> Result<Vec<SocketAddr>, NotPicked> {
        // Only the picker says it, and only for this request.
        head.headers.remove(&DESTINATION);
        context.leave_each(vec![(LOAD_BALANCER.to_owned(), None)]);
        self.0.on_request(head, context, reach).await.map_err(|reply| match reply.reason {
            Reason::ProcessingFailed(why) => NotPicked::Failed(why.to_string()),
            _ => NotPicked::Answered(reply),
        })?;
        destinations(&head.headers, context.metadata.as_deref()).map_err(NotPicked::Failed)
    }

    /// Tells the picker who served the request, and lets it see the response.
    pub async fn served(
        &self,
        by: SocketAddr,
        response: Response<Body>,
        context: &mut RequestContext,
    ) -> Response<Body> {
        let served = Map::from_iter([(SERVED.to_owned(), Value::String(by.to_string()))]);
        context.leave(Map::from_iter([(LOAD_BALANCER.to_owned(), Value::Object(served))]));
        self.0.on_response(response, context).await
    }
}

/// The endpoints in both places, which must be the same where it names them in both.
fn destinations(headers: &HeaderMap, metadata: Option<&Value>) -> Result<Vec<SocketAddr>, String> {
    let in_header = match headers.get(&DESTINATION) {
        None => None,
        Some(value) => Some(value.to_str().map_err(|_| format!("its {DESTINATION} is no text"))?),
    };
    let in_metadata = metadata.and_then(|all| all.get(LOAD_BALANCER)).and_then(|all| all.get(DESTINATION.as_str()));
    let in_metadata = match in_metadata {
        None => None,
        Some(Value::String(text)) => Some(text.as_str()),
        Some(_) => return Err(format!("its {LOAD_BALANCER}/{DESTINATION} is no text")),
    };
    let text = match (in_header, in_metadata) {
        (Some(header), Some(metadata)) if header != metadata => {
            return Err(format!("its header says {header:?} and its metadata {metadata:?}"));
        }
        (Some(text), _) | (None, Some(text)) => text,
        (None, None) => return Err("it names no endpoint".to_owned()),
    };
    let all = text.split(',').map(str::trim).filter(|one| !one.is_empty()).take(MAX_ENDPOINTS);
    let parsed = all.map(|one| one.parse().map_err(|_| format!("{one:?} is no address with a port")));
    let found = parsed.collect::<Result<Vec<SocketAddr>, String>>()?;
    if found.is_empty() { Err("it names no endpoint".to_owned()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(header: Option<&str>, metadata: Option<Value>) -> Result<Vec<String>, String> {
        let mut headers = HeaderMap::new();
        if let Some(value) = header {
            headers.insert(DESTINATION, value.parse().expect("a value"));
        }
        let metadata = metadata.map(|text| json!({"envoy.lb": {"x-gateway-destination-endpoint": text}}));
        destinations(&headers, metadata.as_ref()).map(|all| all.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn endpoints_are_those_of_both_places_in_their_order() {
        let list = "10.0.0.2:8000, [fd00::1]:8000,10.0.0.1:8001";
        let all = ["10.0.0.2:8000", "[fd00::1]:8000", "10.0.0.1:8001"].map(str::to_owned).to_vec();
        assert_eq!(of(Some(list), None), Ok(all.clone()));
        assert_eq!(of(None, Some(list.into())), Ok(all.clone()));
        assert_eq!(of(Some(list), Some(list.into())), Ok(all));
    }

    #[test]
    fn what_contradicts_itself_or_is_no_address_is_no_answer() {
        assert!(of(None, None).is_err());
        assert!(of(Some(" , "), None).is_err());
        assert!(of(Some("10.0.0.1:1"), Some("10.0.0.2:1".into())).is_err());
        assert!(of(None, Some(json!(["10.0.0.1:1"]))).is_err());
        assert!(of(Some("pod-1:8000"), None).is_err());
        assert!(of(Some("10.0.0.1"), None).is_err());
        assert_eq!(of(Some(&"10.0.0.1:1,".repeat(1000)), None).map(|all| all.len()), Ok(MAX_ENDPOINTS));
    }
}
