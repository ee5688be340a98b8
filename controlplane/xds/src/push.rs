//! One push: what a stream's peer lacks of a snapshot, cut into responses, in an order in which nothing ever refers to what
//! is not there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use agentgateway_proto::kind::Kind;
use agentgateway_proto::limits::RESOURCE_BYTES;
use agentgateway_proto::resource::GENERATION_KEY;
use agentgateway_proto::snapshot::{Encoded, Keyed, Snapshot, difference};

use crate::registry::wire_size;

/// A resource with its key.
type Entry = (Arc<str>, Arc<Encoded>);

/// One response.
#[derive(Debug)]
pub(crate) enum Step {
    Changed { kind: Kind, entries: Vec<Entry> },
    Removed { kind: Kind, keys: Vec<Arc<str>> },
}

/// What the peer has of one kind.
#[derive(Debug)]
pub(crate) enum Held {
    /// As it said when it subscribed: version by key.
    Named(BTreeMap<String, String>),
    /// As this stream sent it.
    Sent(Keyed),
}

impl Held {
    /// The entries that differ in `new`, and the keys that are gone from it.
    fn lacks(&self, new: &Keyed) -> (Vec<Entry>, Vec<Arc<str>>) {
        match self {
            Held::Named(named) => {
                let same = |key: &Arc<str>, e: &Encoded| named.get(&**key).is_some_and(|v| e.version == **v);
                let changed = new.iter().filter(|(key, e)| !same(key, e));
                let gone = named.keys().filter(|k| !new.contains_key(k.as_str()));
                (changed.map(|(k, e)| (k.clone(), e.clone())).collect(), gone.map(|k| k.as_str().into()).collect())
            }
            Held::Sent(sent) => {
                let found = difference(sent, new);
                let changed = found.changed.into_iter().map(|(k, e)| (k.clone(), e.clone()));
                (changed.collect(), found.removed.into_iter().cloned().collect())
            }
        }
    }
}

/// The responses that bring a peer with `held` to `snapshot`; `held` is then what it will have.
pub(crate) fn plan(held: &mut BTreeMap<Kind, Held>, snapshot: &Snapshot) -> VecDeque<Step> {
    let mut steps = VecDeque::new();
    let mut removals = Vec::new();
    for kind in Kind::PUSH_ORDER {
        let (Some(new), Some(has)) = (snapshot.kind(kind), held.get_mut(&kind)) else { continue };
        let (changed, gone) = has.lacks(new);
        for entries in split(changed.into_iter(), |(key, e)| wire_size(key, e)) {
            steps.push_back(Step::Changed { kind, entries });
        }
        removals.push((kind, gone));
        *has = Held::Sent(new.clone());
    }
    for (kind, keys) in removals.into_iter().rev() {
        const TAGS: usize = 8;
        for keys in split(keys.into_iter(), |key| key.len() + TAGS) {
            steps.push_back(Step::Removed { kind, keys });
        }
    }
    if held.contains_key(&Kind::Generation) {
        let entries = vec![(GENERATION_KEY.into(), snapshot.generation().clone())];
        steps.push_back(Step::Changed { kind: Kind::Generation, entries });
    }
    steps
}

fn split<T>(items: impl Iterator<Item = T>, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut chunks = Vec::new();
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    for item in items {
        let item_bytes = size(&item);
        if bytes + item_bytes > RESOURCE_BYTES && !chunk.is_empty() {
            chunks.push(std::mem::take(&mut chunk));
            bytes = 0;
        }
        bytes += item_bytes;
        chunk.push(item);
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentgateway_proto::resource::Resource;
    use agentgateway_proto::v1;

    fn all_kinds(named: &[(Kind, &str)]) -> BTreeMap<Kind, Held> {
        Kind::PUSH_ORDER
            .into_iter()
            .map(|kind| {
                let of_kind = named.iter().filter(|(k, _)| *k == kind);
                (kind, Held::Named(of_kind.map(|(_, key)| ((*key).to_owned(), String::new())).collect()))
            })
            .collect()
    }

    fn shape(steps: VecDeque<Step>) -> Vec<String> {
        steps
            .into_iter()
            .map(|step| match step {
                Step::Changed { kind, entries } => format!("+{}:{}", kind.message(), entries.len()),
                Step::Removed { kind, keys } => format!("-{}:{}", kind.message(), keys.len()),
            })
            .collect()
    }

    #[test]
    fn additions_go_up_removals_down_and_the_mark_is_last() {
        let snapshot = Snapshot::of(&[
            Resource::Bind(v1::Bind { key: "b".into(), ..Default::default() }),
            Resource::Route(v1::Route { key: "r".into(), ..Default::default() }),
            Resource::Endpoint(v1::Endpoint { key: "e".into(), ..Default::default() }),
        ]);
        let mut held =
            all_kinds(&[(Kind::Backend, "old"), (Kind::Route, "old"), (Kind::Endpoint, "old"), (Kind::Route, "older")]);
        assert_eq!(
            shape(plan(&mut held, &snapshot)),
            ["+Endpoint:1", "+Route:1", "+Bind:1", "-Route:2", "-Backend:1", "-Endpoint:1", "+Generation:1"]
        );
        assert_eq!(shape(plan(&mut held, &snapshot)), ["+Generation:1"], "nothing is sent twice");
    }

    #[test]
    fn one_changed_route_of_a_thousand_is_one_resource() {
        let route = |i: u32, rule: &str| {
            Resource::Route(v1::Route { key: format!("r{i}"), rule_name: rule.into(), ..Default::default() })
        };
        let first = Snapshot::of(&(0..1_000).map(|i| route(i, "")).collect::<Vec<_>>());
        let mut held = all_kinds(&[]);
        assert_eq!(shape(plan(&mut held, &first)), ["+Route:1000", "+Generation:1"]);
        let mut edit = first.edit();
        edit.insert(&route(7, "changed"));
        assert_eq!(shape(plan(&mut held, &edit.finish())), ["+Route:1", "+Generation:1"]);
    }

    #[test]
    fn large_pushes_are_split_below_the_limit() {
        let routes: Vec<_> = (0..5)
            .map(|i| {
                Resource::Route(v1::Route {
                    key: format!("r{i}"),
                    rule_name: "x".repeat(400_000),
                    ..Default::default()
                })
            })
            .collect();
        let steps = plan(&mut all_kinds(&[]), &Snapshot::of(&routes));
        assert_eq!(shape(steps), ["+Route:2", "+Route:2", "+Route:1", "+Generation:1"]);
    }
}
