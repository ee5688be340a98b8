//! The requests of the incremental protocol: subscriptions and answers.

use std::collections::BTreeSet;

use agentgateway_proto::discovery::{DeltaDiscoveryRequest, Node, Status};
use agentgateway_proto::kind::Kind;
use agentgateway_proto::snapshot::Snapshot;
use agentgateway_proto::v1::ResourceError;
use prost::Message;
use prost_types::Any;

use crate::config::ClientConfig;
use crate::transaction::Received;
use crate::update::Rejected;

/// google.rpc.Code.INVALID_ARGUMENT.
const INVALID_ARGUMENT: i32 = 3;

/// One subscription per kind, the first with the node; each names what this proxy has. What it could not apply is named
/// without a version, so that it is sent again and answered for again.
pub(crate) fn subscriptions(
    config: &ClientConfig,
    held: &Snapshot,
    rejected: &BTreeSet<(Kind, String)>,
) -> Vec<DeltaDiscoveryRequest> {
    let mut node = Some(Node {
        id: config.proxy.clone(),
        cluster: config.gateway.clone(),
        metadata: Some(config.capabilities.to_metadata()),
        user_agent_name: "agentgateway".to_owned(),
        user_agent_version: config.release.clone(),
    });
    Kind::PUSH_ORDER
        .into_iter()
        .filter(|kind| config.capabilities.kinds.contains(kind.message()))
        .map(|kind| DeltaDiscoveryRequest {
            node: node.take(),
            type_url: kind.type_url().to_owned(),
            initial_resource_versions: held
                .kind(kind)
                .into_iter()
                .flat_map(|keyed| keyed.iter())
                .map(|(key, encoded)| {
                    let is_rejected = rejected.contains(&(kind, key.to_string()));
                    (key.to_string(), if is_rejected { String::new() } else { encoded.version.to_string() })
                })
                .collect(),
            ..Default::default()
        })
        .collect()
}

/// The answer to one response: ACK, or NACK with one detail for each of its resources that is rejected.
pub(crate) fn answer(response: &Received, rejected: &[Rejected]) -> DeltaDiscoveryRequest {
    let details: Vec<_> = rejected
        .iter()
        .filter(|r| r.kind == response.kind && response.keys.contains(&r.key))
        .map(|r| {
            let error =
                ResourceError { type_url: r.kind.type_url().to_owned(), key: r.key.clone(), reason: r.reason.clone() };
            Any {
                type_url: "type.googleapis.com/agentgateway.resource.v1.ResourceError".to_owned(),
                value: error.encode_to_vec(),
            }
        })
        .collect();
    let error_detail = (!details.is_empty()).then(|| Status {
        code: INVALID_ARGUMENT,
        message: format!("{} resources cannot be applied", details.len()),
        details,
    });
    DeltaDiscoveryRequest {
        type_url: response.kind.type_url().to_owned(),
        response_nonce: response.nonce.clone(),
        error_detail,
        ..Default::default()
    }
}
