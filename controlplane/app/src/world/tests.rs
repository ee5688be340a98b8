//! The start: nothing is given out before everything was seen.

use std::sync::Mutex;

use serde_json::json;

use super::*;

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Given>>);

#[derive(Default)]
struct Given {
    statuses: Vec<StatusUpdate>,
    workloads: Vec<Name>,
    references: Vec<ObjectKey>,
}

impl Sink for Recorder {
    fn statuses(&mut self, statuses: Vec<StatusUpdate>) -> Vec<Change> {
        self.0.lock().expect("lock").statuses.extend(statuses);
        Vec::new()
    }

    fn workloads(&mut self, workloads: BTreeMap<Name, Option<Workload>>) -> Vec<Change> {
        self.0.lock().expect("lock").workloads.extend(workloads.into_keys());
        Vec::new()
    }

    fn references(&mut self, references: References) -> Vec<Change> {
        self.0.lock().expect("lock").references.extend(references.added);
        Vec::new()
    }
}

fn world() -> (World<Recorder>, Recorder, watch::Receiver<bool>, Arc<Registry>) {
    let (recorder, (ready, is_ready)) = (Recorder::default(), watch::channel(false));
    let rejections = Arc::new(Rejections::default());
    let registry = Arc::new(Registry::new(rejections.clone()));
    let (settings, metrics) = (Settings::default(), Metrics::default());
    let world = World::new(settings, registry.clone(), rejections, metrics, recorder.clone(), ready);
    (world, recorder, is_ready, registry)
}

fn objects() -> Vec<Change> {
    let class = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "c"},
        "spec": {"controllerName": agentgateway_controlplane_translate::CONTROLLER_NAME},
    });
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "g", "namespace": "n"},
        "spec": {"gatewayClassName": "c", "listeners": [
            {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "s"}]}},
        ]},
    });
    [class, gateway].into_iter().filter_map(Object::read).map(Change::set).collect()
}

fn synced() -> impl Iterator<Item = Input> {
    ObjectKind::ALL.iter().copied().filter(|kind| kind.watched()).map(Input::Synced)
}

#[test]
fn a_secret_that_is_not_read_yet_holds_the_start_and_one_that_does_not_exist_ends_it() {
    let (mut world, recorder, ready, registry) = world();
    world.take([Input::Changes(objects()), Input::Installed(None)].into_iter().chain(synced()));
    let secret = ObjectKey { kind: ObjectKind::Secret, name: Name::new("n", "s") };
    {
        let given = recorder.0.lock().expect("lock");
        assert_eq!(given.references, std::slice::from_ref(&secret));
        assert!(given.statuses.is_empty() && given.workloads.is_empty(), "half a world is given out");
    }
    assert!(!*ready.borrow() && registry.gateways().is_empty());
    world.take([Input::Changes(vec![Change::gone(secret)])].into_iter());
    let given = recorder.0.lock().expect("lock");
    assert!(*ready.borrow());
    assert_eq!(registry.gateways(), ["n/g"]);
    assert_eq!((given.workloads.len(), given.statuses.len()), (1, 2), "the class's and the Gateway's");
}

#[test]
fn every_kind_and_the_definitions_are_waited_for() {
    let (mut world, _, ready, _) = world();
    world.take(synced());
    assert!(!*ready.borrow(), "without the definitions");
    world.take([Input::Installed(None)].into_iter());
    assert!(*ready.borrow());
    let (mut world, _, ready, _) = self::world();
    world.take([Input::Installed(None)].into_iter().chain(synced().skip(1)));
    assert!(!*ready.borrow(), "without a kind");
}
