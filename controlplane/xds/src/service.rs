//! The gRPC service: lets a peer in, or says why not, and starts its session.

use std::sync::Arc;
use std::time::Duration;

use agentgateway_proto::capabilities::Capabilities;
use agentgateway_proto::discovery::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use agentgateway_proto::discovery::{
    self, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use agentgateway_proto::kind::Kind;
use agentgateway_proto::limits::REQUEST_BYTES;
use agentgateway_proto::v1::ResourceError;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::auth::{self, Authenticator, Refusal};
use crate::delta::Delta;
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::rejections::{Rejection, Rejections};
use crate::session::{Delivered, Peer, Protocol, Session};
use crate::skew::Views;
use crate::sotw::StateOfTheWorld;

/// Responses that wait for the connection; the rest of a push waits in its plan.
const RESPONSE_QUEUE: usize = 2;
/// A peer must say within this time who it is.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The discovery service of all gateways.
pub struct Discovery {
    registry: Arc<Registry>,
    authenticator: Arc<dyn Authenticator>,
    rejections: Arc<Rejections>,
    metrics: Metrics,
    views: Views,
}

impl Discovery {
    /// A service that hands out what `registry` holds to those whom `authenticator` knows.
    pub fn new(
        registry: Arc<Registry>,
        authenticator: Arc<dyn Authenticator>,
        rejections: Arc<Rejections>,
        metrics: Metrics,
    ) -> Discovery {
        Discovery { registry, authenticator, rejections, metrics, views: Views::default() }
    }

    /// As a tonic service, with the message sizes that both ends agreed on.
    pub fn into_service(self) -> AggregatedDiscoveryServiceServer<Discovery> {
        // What is sent is bounded by the plan, except the state-of-the-world form, which cannot be split: there the
        // client's own limit counts.
        AggregatedDiscoveryServiceServer::new(self)
            .max_decoding_message_size(REQUEST_BYTES)
            .max_encoding_message_size(usize::MAX)
    }

    async fn open<P: Protocol>(
        &self,
        request: Request<Streaming<P::Request>>,
    ) -> Result<Response<ReceiverStream<Result<P::Response, Status>>>, Status> {
        let address = request.remote_addr().map_or_else(|| "unknown".to_owned(), |a| a.to_string());
        let refuse = |status: Status| {
            self.metrics.refused.inc();
            tracing::warn!(peer = address, reason = status.message(), "discovery peer refused");
            status
        };
        let (metadata, _, mut requests) = request.into_parts();
        let token = auth::bearer(&metadata)
            .ok_or_else(|| refuse(Status::unauthenticated("no bearer token in the authorization metadata")))?;
        let allowed = self.authenticator.authenticate(token).await.map_err(|refusal| {
            refuse(match &refusal {
                Refusal::Invalid(_) => Status::unauthenticated(refusal.to_string()),
                Refusal::Unavailable(_) => Status::unavailable(refusal.to_string()),
            })
        })?;
        let first = tokio::time::timeout(FIRST_REQUEST_TIMEOUT, requests.message())
            .await
            .map_err(|_| refuse(Status::deadline_exceeded("no request within 10 s")))??
            .ok_or_else(|| Status::invalid_argument("the stream ended before its first request"))?;
        let node = P::node(&first)
            .filter(|node| !node.cluster.is_empty() && !node.id.is_empty())
            .ok_or_else(|| refuse(Status::invalid_argument("the first request must name node.id and node.cluster")))?;
        if !allowed.covers(&node.cluster) {
            return Err(refuse(Status::permission_denied(format!(
                "this token is not one of gateway {}'s proxies",
                node.cluster
            ))));
        }
        let capabilities = node.metadata.as_ref().and_then(Capabilities::from_metadata);
        let peer = Peer { gateway: node.cluster.clone(), proxy: node.id.clone(), ours: capabilities.is_some() };
        let view = capabilities.and_then(|capabilities| self.views.of(&peer.gateway, capabilities));
        let session = Session::<P>::new(
            peer.clone(),
            view,
            self.registry.subscribe(&peer.gateway),
            self.registry.phase(),
            self.rejections.clone(),
            self.metrics.clone(),
        );
        let (responses, stream) = mpsc::channel(RESPONSE_QUEUE);
        tokio::spawn(session.run(first, requests, responses));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Discovery {
    type StreamAggregatedResourcesStream = ReceiverStream<Result<DiscoveryResponse, Status>>;
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        self.open::<StateOfTheWorld>(request).await
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        self.open::<Delta>(request).await
    }
}

/// The resources that a NACK names. A foreign client names none: then the whole response stands for itself.
pub(crate) fn resource_errors(status: &discovery::Status, delivered: &[Delivered]) -> Vec<Rejection> {
    let version = |kind: Kind, key: &str| {
        let resource = delivered.iter().find(|d| d.kind == kind && *d.key == *key)?;
        Some(resource.version.map(|v| v.to_string()).unwrap_or_default())
    };
    let named: Vec<_> = status
        .details
        .iter()
        .filter_map(|detail| ResourceError::decode(detail.value.as_slice()).ok())
        .filter_map(|error| {
            let kind = Kind::from_type_url(&error.type_url)?;
            let version = version(kind, &error.key)?;
            Some(Rejection { kind, key: error.key, version, reason: error.reason })
        })
        .collect();
    if !named.is_empty() {
        return named;
    }
    let Some(first) = delivered.first() else { return Vec::new() };
    vec![Rejection {
        kind: first.kind,
        key: String::new(),
        version: String::new(),
        reason: format!("a whole response was refused: {}", status.message),
    }]
}
