//! Routes without requests: TLSRoute, TCPRoute and UDPRoute, whose rules are backends alone.

use agentgateway_crds::{BackendReference, ParentReference, TcpRoute, UdpRoute};
use agentgateway_proto::v1;
use gateway_api::apis::experimental::tlsroutes::{TlsRoute, TlsRouteUseDefaultGateways};

use super::RouteKind;
use super::backends::{Referrer, reference};
use super::parent::AsParent;
use super::rule::{Rule, weight};
use crate::Name;
use crate::object::ObjectKind;
use crate::service::Asked;
use crate::view::View;

impl RouteKind for TlsRoute {
    const KIND: ObjectKind = ObjectKind::TlsRoute;

    fn parents(&self) -> Vec<ParentReference> {
        self.spec.parent_refs.iter().flatten().map(AsParent::as_parent).collect()
    }

    fn hostnames(&self) -> &[String] {
        &self.spec.hostnames
    }

    fn wants_default_gateways(&self) -> bool {
        self.spec.use_default_gateways == Some(TlsRouteUseDefaultGateways::All)
    }

    fn rules(&self, name: &Name, view: &View<'_>) -> Vec<Rule> {
        let referrer = Referrer { kind: Self::KIND, name, view };
        let rules = self.spec.rules.iter().enumerate();
        let each = rules.map(|(i, config)| {
            let references: Vec<BackendReference> =
                config.backend_refs.iter().map(|r| BackendReference { weight: r.weight, ..reference!(r) }).collect();
            let mut rule = Rule::at(i, config.name.as_ref());
            backends(&mut rule, &references, Asked::Tcp, referrer);
            rule.finish()
        });
        each.collect()
    }
}

macro_rules! stream_route {
    ($type:ty, $kind:expr, $asked:expr) => {
        impl RouteKind for $type {
            const KIND: ObjectKind = $kind;

            fn parents(&self) -> Vec<ParentReference> {
                self.spec.parent_refs.clone().unwrap_or_default()
            }

            fn hostnames(&self) -> &[String] {
                &[]
            }

            fn wants_default_gateways(&self) -> bool {
                self.spec.use_default_gateways.as_deref() == Some("All")
            }

            fn rules(&self, name: &Name, view: &View<'_>) -> Vec<Rule> {
                let referrer = Referrer { kind: Self::KIND, name, view };
                let rules = self.spec.rules.iter().enumerate();
                let each = rules.map(|(i, config)| {
                    let mut rule = Rule::at(i, config.name.as_ref());
                    backends(&mut rule, &config.backend_refs, $asked, referrer);
                    rule.finish()
                });
                each.collect()
            }
        }
    };
}

stream_route!(TcpRoute, ObjectKind::TcpRoute, Asked::Tcp);
stream_route!(UdpRoute, ObjectKind::UdpRoute, Asked::Udp);

fn backends(rule: &mut Rule, references: &[BackendReference], asked: Asked, referrer: Referrer<'_>) {
    for (i, reference) in references.iter().enumerate() {
        let at = rule.path().key("backendRefs").index(i);
        let backend_key = referrer.key(reference, asked, &at, rule);
        let weight = weight(reference.weight);
        rule.backends.push(v1::RouteBackend { weight, backend_key, ..v1::RouteBackend::default() });
    }
}
