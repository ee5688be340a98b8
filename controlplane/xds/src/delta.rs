//! The incremental form: each response holds what changed.

use std::collections::{BTreeMap, VecDeque};

use agentgateway_proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node, Resource};
use agentgateway_proto::kind::Kind;
use agentgateway_proto::snapshot::Snapshot;
use prost_types::Any;

use crate::metrics::Metrics;
use crate::push::{self, Held, Step};
use crate::session::{Ask, Delivered, Protocol};

pub(crate) struct Delta;

impl Protocol for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;
    type Step = Step;

    fn node(request: &Self::Request) -> Option<&Node> {
        request.node.as_ref()
    }

    fn read(request: Self::Request) -> Ask {
        if !request.response_nonce.is_empty() {
            Ask::Answer { nonce: request.response_nonce, error: request.error_detail }
        } else if !request.resource_names_unsubscribe.is_empty() && request.resource_names_subscribe.is_empty() {
            Ask::Unsubscribe { type_url: request.type_url }
        } else {
            Ask::Subscribe {
                type_url: request.type_url,
                names: request.resource_names_subscribe,
                has: request.initial_resource_versions,
            }
        }
    }

    fn plan(held: &mut BTreeMap<Kind, Held>, snapshot: &Snapshot) -> VecDeque<Step> {
        push::plan(held, snapshot)
    }

    fn encode(step: Step, nonce: String, generation: &str, metrics: &Metrics) -> (Self::Response, Vec<Delivered>) {
        let mut response =
            DeltaDiscoveryResponse { system_version_info: generation.to_owned(), nonce, ..Default::default() };
        let mut delivered = Vec::new();
        match step {
            Step::Changed { kind, entries } => {
                response.type_url = kind.type_url().to_owned();
                metrics.sent(kind).inc_by(entries.len() as u64);
                for (key, encoded) in entries {
                    metrics.bytes.inc_by(encoded.bytes.len() as u64);
                    response.resources.push(Resource {
                        name: key.to_string(),
                        version: encoded.version.to_string(),
                        resource: Some(Any { type_url: kind.type_url().to_owned(), value: encoded.bytes.to_vec() }),
                    });
                    delivered.push(Delivered { kind, key, version: Some(encoded.version) });
                }
            }
            Step::Removed { kind, keys } => {
                response.type_url = kind.type_url().to_owned();
                metrics.removed(kind).inc_by(keys.len() as u64);
                for key in keys {
                    response.removed_resources.push(key.to_string());
                    delivered.push(Delivered { kind, key, version: None });
                }
            }
        }
        (response, delivered)
    }
}
