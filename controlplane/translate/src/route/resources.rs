//! Routes as resources: for HTTP one for each match of each rule on each listener, for streams one for each rule.

use agentgateway_proto::resource::Resource;
use agentgateway_proto::{key, v1};

use super::attach::Attachment;
use super::rule::Rule;
use crate::object::{ObjectKey, ObjectKind};

/// What a route is on a listener. `created` is its age in seconds since the epoch.
pub(super) fn on(route: &ObjectKey, created: i64, rules: &[Rule], on: &Attachment<'_>) -> Vec<Resource> {
    let source = route.name.to_ref(route.kind.kind());
    let each = rules.iter();
    match route.kind {
        ObjectKind::HttpRoute | ObjectKind::GrpcRoute => {
            each.flat_map(|rule| http(&source, created, rule, on)).collect()
        }
        ObjectKind::UdpRoute => each.map(|rule| udp(&source, created, rule, on)).collect(),
        _ => each.map(|rule| tcp(&source, created, rule, on)).collect(),
    }
}

fn http<'a>(
    source: &'a v1::ObjectRef,
    created: i64,
    rule: &'a Rule,
    on: &'a Attachment<'_>,
) -> impl Iterator<Item = Resource> + 'a {
    let listener_key = &on.listener.key;
    rule.matches.iter().map(move |(match_index, matched)| {
        Resource::Route(v1::Route {
            key: key::route(source, rule.index, *match_index, listener_key),
            listener_key: listener_key.clone(),
            source: Some(source.clone()),
            rule_index: rule.index,
            match_index: *match_index,
            rule_name: rule.name.clone(),
            hostnames: on.hostnames.clone(),
            r#match: Some(matched.clone()),
            inline_policies: rule.policies.clone(),
            backends: rule.backends.clone(),
            created,
        })
    })
}

fn tcp(source: &v1::ObjectRef, created: i64, rule: &Rule, on: &Attachment<'_>) -> Resource {
    let listener_key = &on.listener.key;
    Resource::TcpRoute(v1::TcpRoute {
        key: key::stream_route(source, rule.index, listener_key),
        listener_key: listener_key.clone(),
        source: Some(source.clone()),
        rule_index: rule.index,
        rule_name: rule.name.clone(),
        hostnames: on.hostnames.clone(),
        backends: rule.backends.clone(),
        created,
    })
}

fn udp(source: &v1::ObjectRef, created: i64, rule: &Rule, on: &Attachment<'_>) -> Resource {
    let listener_key = &on.listener.key;
    Resource::UdpRoute(v1::UdpRoute {
        key: key::stream_route(source, rule.index, listener_key),
        listener_key: listener_key.clone(),
        source: Some(source.clone()),
        rule_index: rule.index,
        rule_name: rule.name.clone(),
        backends: rule.backends.clone(),
        created,
    })
}
