//! One discovery stream, from its connection to its end.
//!
//! All responses of a generation are answered together, after the proxy has applied it: a nonce covers a whole response, and
//! only the proxy's compiler knows which of its resources is bad.

use agentgateway_proto::discovery::DeltaDiscoveryRequest;
use agentgateway_proto::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use agentgateway_proto::limits::{REQUEST_BYTES, RESPONSE_BYTES};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::Client;
use crate::connect;
use crate::requests;
use crate::transaction::Transaction;
use crate::update::Origin;

/// Requests that wait for the connection.
const REQUEST_QUEUE: usize = 16;

/// Why a stream ended.
pub(crate) enum StreamEnd {
    /// The control plane ended it in good order.
    Closed,
    /// It failed, or never began.
    Failed(String),
    /// The proxy ends.
    Gone,
}

impl Client {
    pub(crate) async fn stream(&mut self) -> StreamEnd {
        let (requests, mut responses) = match self.open().await {
            Ok(stream) => stream,
            Err(reason) => return StreamEnd::Failed(reason),
        };
        self.status.set_connected(true);
        tracing::info!(address = %self.config.address, "discovery stream opened");
        let mut transaction = Transaction::default();
        loop {
            let response = match responses.message().await {
                Ok(Some(response)) => response,
                Ok(None) => return StreamEnd::Closed,
                Err(status) => return StreamEnd::Failed(describe(&status)),
            };
            let Some(mark) = transaction.add(response) else { continue };
            let complete = std::mem::take(&mut transaction).complete(mark, &self.held, self.anew, &self.config.gateway);
            let complete = match complete {
                Ok(complete) => complete,
                Err(reason) => {
                    self.anew = true;
                    return StreamEnd::Failed(reason.to_string());
                }
            };
            self.anew = false;
            self.held = complete.snapshot;
            let delivered =
                self.deliver(complete.changed, complete.removed, Origin::ControlPlane, complete.rejected).await;
            let Ok(rejected) = delivered else { return StreamEnd::Gone };
            for response in &complete.received {
                if requests.send(requests::answer(response, &rejected)).await.is_err() {
                    return StreamEnd::Closed;
                }
            }
        }
    }

    async fn open(
        &self,
    ) -> Result<
        (mpsc::Sender<DeltaDiscoveryRequest>, tonic::Streaming<agentgateway_proto::discovery::DeltaDiscoveryResponse>),
        String,
    > {
        let authorization = connect::authorization(&self.config.token).await.map_err(|e| e.to_string())?;
        let channel = connect::channel(&self.config).await.map_err(|e| e.to_string())?;
        let (requests, outgoing) = mpsc::channel(REQUEST_QUEUE);
        let nothing = agentgateway_proto::snapshot::Snapshot::default();
        let base = if self.anew { &nothing } else { &self.held };
        for request in requests::subscriptions(&self.config, base, &self.rejected) {
            // The queue has room for one subscription per kind.
            requests.try_send(request).map_err(|_| "the request queue is full".to_owned())?;
        }
        let mut request = tonic::Request::new(ReceiverStream::new(outgoing));
        request.metadata_mut().insert("authorization", authorization);
        let responses = AggregatedDiscoveryServiceClient::new(channel)
            .max_decoding_message_size(RESPONSE_BYTES)
            .max_encoding_message_size(REQUEST_BYTES)
            .delta_aggregated_resources(request)
            .await
            .map_err(|status| describe(&status))?;
        Ok((requests, responses.into_inner()))
    }
}

fn describe(status: &tonic::Status) -> String {
    format!("{}: {}", status.code(), status.message())
}
