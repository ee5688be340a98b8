//! The state-of-the-world form, for foreign xDS clients: each response holds every resource of its kind.
//!
//! It cannot be split, and a removal is an absence; our own proxies use the incremental form.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use agentgateway_proto::discovery::{DiscoveryRequest, DiscoveryResponse, Node};
use agentgateway_proto::kind::Kind;
use agentgateway_proto::resource::GENERATION_KEY;
use agentgateway_proto::snapshot::{Encoded, Keyed, Snapshot};
use prost_types::Any;

use crate::metrics::Metrics;
use crate::push::Held;
use crate::session::{Ask, Delivered, Protocol};

pub(crate) struct StateOfTheWorld;

/// All resources of a kind.
pub(crate) struct Whole {
    kind: Kind,
    entries: Vec<(Arc<str>, Arc<Encoded>)>,
}

impl Protocol for StateOfTheWorld {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;
    type Step = Whole;

    fn node(request: &Self::Request) -> Option<&Node> {
        request.node.as_ref()
    }

    fn read(request: Self::Request) -> Ask {
        if request.response_nonce.is_empty() {
            Ask::Subscribe { type_url: request.type_url, names: request.resource_names, has: BTreeMap::new() }
        } else {
            Ask::Answer { nonce: request.response_nonce, error: request.error_detail }
        }
    }

    fn plan(held: &mut BTreeMap<Kind, Held>, snapshot: &Snapshot) -> VecDeque<Whole> {
        let mut steps = VecDeque::new();
        for (&kind, has) in held.iter_mut() {
            let new: Keyed = match snapshot.kind(kind) {
                Some(keyed) => keyed.clone(),
                None => Keyed::unit(GENERATION_KEY.into(), snapshot.generation().clone()),
            };
            if matches!(has, Held::Sent(sent) if *sent == new) {
                continue;
            }
            let entries = new.iter().map(|(key, encoded)| (key.clone(), encoded.clone())).collect();
            steps.push_back(Whole { kind, entries });
            *has = Held::Sent(new);
        }
        steps
    }

    fn encode(step: Whole, nonce: String, generation: &str, metrics: &Metrics) -> (Self::Response, Vec<Delivered>) {
        let kind = step.kind;
        metrics.sent(kind).inc_by(step.entries.len() as u64);
        let mut response = DiscoveryResponse {
            version_info: generation.to_owned(),
            type_url: kind.type_url().to_owned(),
            nonce,
            ..Default::default()
        };
        let mut delivered = Vec::with_capacity(step.entries.len());
        for (key, encoded) in step.entries {
            metrics.bytes.inc_by(encoded.bytes.len() as u64);
            response.resources.push(Any { type_url: kind.type_url().to_owned(), value: encoded.bytes.to_vec() });
            delivered.push(Delivered { kind, key, version: Some(encoded.version) });
        }
        (response, delivered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentgateway_proto::resource::Resource;
    use agentgateway_proto::v1;

    #[test]
    fn a_kind_is_sent_whole_when_anything_of_it_changed() {
        let bind = |key: &str| Resource::Bind(v1::Bind { key: key.into(), ..Default::default() });
        let first = Snapshot::of(&[bind("a"), bind("b")]);
        let mut held = BTreeMap::from([Kind::Bind, Kind::Route].map(|kind| (kind, Held::Named(BTreeMap::new()))));
        let sizes = |steps: VecDeque<Whole>| steps.iter().map(|s| (s.kind, s.entries.len())).collect::<Vec<_>>();
        assert_eq!(sizes(StateOfTheWorld::plan(&mut held, &first)), [(Kind::Route, 0), (Kind::Bind, 2)]);
        let mut edit = first.edit();
        edit.remove(Kind::Bind, "a");
        assert_eq!(sizes(StateOfTheWorld::plan(&mut held, &edit.finish())), [(Kind::Bind, 1)]);
    }
}
