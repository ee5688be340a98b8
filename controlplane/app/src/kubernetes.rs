//! The control plane of a cluster: puts together watches, translator, discovery server, statuses and deployment.

pub(crate) mod authority;
mod class;
mod definitions;
pub(crate) mod deploy;
mod events;
pub(crate) mod leader;
pub(crate) mod manifests;
pub(crate) mod owned;
mod peers;
mod references;
pub(crate) mod scope;
pub(crate) mod status;
pub(crate) mod tokens;
pub(crate) mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agentgateway_controlplane_translate::{Change, Name, ObjectKind, References, Settings, StatusUpdate, Workload};
use agentgateway_controlplane_xds::registry::Phase;
use agentgateway_controlplane_xds::{Discovery, Registry, Rejections};
use anyhow::Context;
use kube::Client;
use tokio::sync::{mpsc, watch as signal};

use crate::args::{Args, ClusterArgs};
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;
use crate::world::{INPUT_QUEUE, Input, Sink, World};
use crate::{discovery, world};

/// Streams have this long to end when the process is told to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

struct ClusterSink {
    statuses: Arc<status::Pending>,
    workloads: Arc<deploy::Desired>,
    references: Arc<references::Wanted>,
}

impl Sink for ClusterSink {
    fn statuses(&mut self, statuses: Vec<StatusUpdate>) -> Vec<Change> {
        self.statuses.add(statuses);
        Vec::new()
    }

    fn workloads(&mut self, workloads: BTreeMap<Name, Option<Workload>>) -> Vec<Change> {
        self.workloads.set(workloads);
        Vec::new()
    }

    fn references(&mut self, references: References) -> Vec<Change> {
        self.references.change(references);
        Vec::new()
    }
}

/// Runs until the process is told to stop.
pub(crate) async fn run(
    args: Args,
    metrics: Metrics,
    ready: signal::Sender<bool>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let cluster = &args.cluster;
    let client = Client::try_default().await.context("cannot find a cluster: no service account and no kubeconfig")?;
    let port = discovery::open(args.xds_address()?).await.context("cannot open the discovery port")?;

    let keeper = authority::Keeper::new(client.clone(), &cluster.namespace, serving_names(cluster)).await?;
    let (acceptor, bundle) = (keeper.acceptor()?, keeper.bundle());
    tokio::spawn(keeper.run());

    let rejections = Arc::new(Rejections::default());
    let registry = Arc::new(Registry::new(rejections.clone()));
    let statuses = Arc::new(status::Pending::default());
    let desired = Arc::new(deploy::Desired::default());
    let (inputs, receiver) = mpsc::channel(INPUT_QUEUE);
    let settings = Settings { cluster_domain: cluster.cluster_domain.clone(), ..Settings::default() };
    let wanted = Arc::new(references::Wanted::default());
    let sink = ClusterSink { statuses: statuses.clone(), workloads: desired.clone(), references: wanted.clone() };
    let ready_now = ready.subscribe();
    let world = World::new(settings, registry.clone(), rejections.clone(), metrics.clone(), sink, ready);
    tokio::spawn(world.run(receiver));
    let scope = scope::Scope::new(&cluster.watch_namespaces);
    let definitions = definitions::follow(client.clone());
    let watches = watch::Watches {
        client: client.clone(),
        scope: scope.clone(),
        definitions: definitions.clone(),
        inputs: inputs.clone(),
    };
    for kind in ObjectKind::ALL.iter().copied().filter(|kind| kind.watched()) {
        tokio::spawn(watches.clone().run(kind));
    }
    tokio::spawn(definitions::tell(definitions.clone(), inputs.clone()));
    tokio::spawn(references::run(client.clone(), wanted, inputs.clone()));

    let (leading, leads) = signal::channel(false);
    let election = {
        let (client, namespace, me) = (client.clone(), cluster.namespace.clone(), cluster.pod_name.clone());
        let stop = shutdown.clone();
        tokio::spawn(async move { leader::run(client, &namespace, me, leading, stop.wait()).await })
    };
    share_rejections(&client, cluster, &rejections, &inputs);
    tokio::spawn(status::run(client.clone(), statuses, leads.clone(), metrics.clone()));
    tokio::spawn(on_leadership(client.clone(), definitions, leads.clone(), inputs, metrics.clone()));
    tokio::spawn(events::run(client.clone(), cluster.pod_name.clone(), rejections.clone()));

    let inventory = Arc::new(owned::Inventory::default());
    let listed = owned::watch(&client, &scope, &inventory);
    let deployer = deploy::Deployer {
        client: client.clone(),
        desired: desired.clone(),
        inventory,
        bundle,
        settings: proxy_settings(cluster),
    };
    tokio::spawn(deployer.run(leads, ready_now, listed));

    let tokens = tokens::Tokens::new(tokens::ApiServer::new(client), move |account: &str| desired.gateway_of(account));
    let discovery = Discovery::new(registry.clone(), Arc::new(tokens), rejections, metrics.xds);
    tracing::info!(address = %port.address()?, "discovery server listens");
    let stopping = shutdown.clone();
    let serving = tokio::spawn(port.serve(discovery, Some(acceptor), async move { stopping.wait().await }));

    shutdown.wait().await;
    registry.set_phase(Phase::Stopping);
    // Whatever does not end in time ends with the process.
    let _ = tokio::time::timeout(STOP_TIMEOUT, async { tokio::join!(election, serving) }).await;
    Ok(())
}

/// Replicas tell each other what proxies reject; without a pod there are no others.
fn share_rejections(
    client: &Client,
    cluster: &ClusterArgs,
    rejections: &Arc<Rejections>,
    inputs: &mpsc::Sender<Input>,
) {
    let (namespace, pod) = (cluster.namespace.clone(), cluster.pod_name.clone());
    if let Some(uid) = cluster.pod_uid.clone() {
        let replica = peers::Replica { pod: pod.clone(), uid };
        tokio::spawn(peers::tell(client.clone(), namespace.clone(), replica, rejections.clone()));
    }
    tokio::spawn(peers::listen(client.clone(), namespace, pod, inputs.clone()));
}

/// What a new leader does: the class exists, and statuses that the last leader did not come to write are written.
async fn on_leadership(
    client: Client,
    definitions: definitions::Definitions,
    mut leads: signal::Receiver<bool>,
    inputs: mpsc::Sender<world::Input>,
    metrics: Metrics,
) {
    loop {
        let leading = *leads.borrow_and_update();
        metrics.leader.set(i64::from(leading));
        if leading && inputs.send(Input::RepeatStatuses).await.is_err() {
            return;
        }
        let ensure = class::ensure(client.clone(), definitions.clone());
        tokio::pin!(ensure);
        let mut ensured = !leading;
        loop {
            tokio::select! {
                () = &mut ensure, if !ensured => ensured = true,
                changed = leads.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
            }
        }
    }
}

fn serving_names(cluster: &ClusterArgs) -> Vec<String> {
    let (service, namespace) = (&cluster.service_name, &cluster.namespace);
    let mut names = vec![
        format!("{service}.{namespace}.svc.{}", cluster.cluster_domain),
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}"),
    ];
    let host =
        cluster.proxy_xds_address.as_ref().and_then(|url| url.parse::<hyper::Uri>().ok()?.host().map(str::to_owned));
    names.extend(host.filter(|host| !names.contains(host)));
    names
}

fn proxy_settings(cluster: &ClusterArgs) -> manifests::ProxySettings {
    let (service, namespace, domain) = (&cluster.service_name, &cluster.namespace, &cluster.cluster_domain);
    manifests::ProxySettings {
        image: cluster.proxy_image.clone(),
        image_pull_policy: cluster.proxy_image_pull_policy.clone(),
        xds_address: cluster
            .proxy_xds_address
            .clone()
            .unwrap_or_else(|| format!("https://{service}.{namespace}.svc.{domain}:{}", cluster.service_port)),
        log_level: cluster.proxy_log_level.clone(),
    }
}
