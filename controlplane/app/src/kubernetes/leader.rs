//! Leader election by a Lease: of several replicas one writes statuses and deploys.
//!
//! As client-go has it: a holder is taken for dead when its lease did not change for its whole duration by our own clock, so
//! clocks of different machines need not agree.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;

/// Name of the Lease.
pub(crate) const LEASE: &str = "agentgateway-controlplane";
/// A leader that was killed is replaced after this time and one retry.
const DURATION: Duration = Duration::from_secs(8);
/// A leader that could not renew for this time steps down, well before another may step up.
const RENEW_DEADLINE: Duration = Duration::from_secs(6);
const RETRY: Duration = Duration::from_secs(2);
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// What was last seen of the holder, and since when.
#[derive(Debug, Default)]
struct Observed {
    holder: Option<String>,
    renewed: Option<MicroTime>,
    since: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Renew,
    Take,
    Wait,
}

impl Observed {
    fn decide(&mut self, lease: &LeaseSpec, me: &str, now: Instant) -> Decision {
        if self.since.is_none() || self.holder != lease.holder_identity || self.renewed != lease.renew_time {
            *self =
                Observed { holder: lease.holder_identity.clone(), renewed: lease.renew_time.clone(), since: Some(now) };
        }
        match lease.holder_identity.as_deref() {
            Some(holder) if holder == me => Decision::Renew,
            None | Some("") => Decision::Take,
            Some(_) => {
                let seconds = lease.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
                let duration = seconds.map_or(DURATION, Duration::from_secs);
                let unchanged = self.since.map_or(Duration::ZERO, |since| now.duration_since(since));
                if unchanged >= duration { Decision::Take } else { Decision::Wait }
            }
        }
    }
}

/// Takes part in the election until `stop` is ready; then gives the lease back.
pub(crate) async fn run(
    client: Client,
    namespace: &str,
    me: String,
    leading: watch::Sender<bool>,
    stop: impl Future<Output = ()>,
) {
    let mut election =
        Election { api: Api::namespaced(client, namespace), me, observed: Observed::default(), renewed: None };
    tokio::pin!(stop);
    loop {
        let attempt = Instant::now();
        match tokio::time::timeout(CALL_TIMEOUT, election.attempt()).await {
            Ok(Ok(true)) => election.renewed = Some(attempt),
            Ok(Ok(false)) => election.renewed = None,
            Ok(Err(error)) => tracing::warn!(%error, "cannot take part in the leader election"),
            Err(_) => tracing::warn!("the API server does not answer the leader election"),
        }
        let leads = election.renewed.is_some_and(|renewed| renewed.elapsed() < RENEW_DEADLINE);
        leading.send_if_modified(|was| {
            let changed = *was != leads;
            if changed {
                tracing::info!(leader = leads, identity = election.me, "leadership changed");
            }
            *was = leads;
            changed
        });
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = &mut stop => break,
        }
    }
    if *leading.borrow() {
        leading.send_replace(false);
        if let Err(error) = election.release().await {
            tracing::info!(%error, "cannot give the lease back; another replica takes it when it expires");
        }
    }
}

struct Election {
    api: Api<Lease>,
    me: String,
    observed: Observed,
    /// When the lease was last surely ours.
    renewed: Option<Instant>,
}

impl Election {
    /// One attempt to get or keep the lease; whether it is ours now.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.api.get_opt(LEASE).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(LEASE.to_owned()), ..Default::default() },
                spec: Some(self.held(0)),
            };
            return owned(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let transitions = spec.lease_transitions.unwrap_or(0);
        lease.spec = Some(match self.observed.decide(&spec, &self.me, Instant::now()) {
            Decision::Wait => return Ok(false),
            Decision::Take => self.held(transitions + 1),
            Decision::Renew => LeaseSpec { acquire_time: spec.acquire_time, ..self.held(transitions) },
        });
        // The resource version of what was read makes the API server refuse this when another was faster.
        owned(self.api.replace(LEASE, &PostParams::default(), &lease).await)
    }

    async fn release(&self) -> Result<(), kube::Error> {
        let mut lease = self.api.get(LEASE).await?;
        if let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_ref() == Some(&self.me)) {
            spec.holder_identity = Some(String::new());
            self.api.replace(LEASE, &PostParams::default(), &lease).await?;
        }
        Ok(())
    }

    fn held(&self, transitions: i32) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..Default::default()
        }
    }
}

fn owned(result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str, renewed_second: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(8),
            renew_time: Some(MicroTime(Timestamp::from_second(renewed_second).expect("time"))),
            ..Default::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_taken_only_after_it_stood_still_for_its_duration() {
        let mut observed = Observed::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        // However old its time says it is: clocks may differ.
        assert_eq!(observed.decide(&held_by("a", 0), "b", at(0)), Decision::Wait);
        assert_eq!(observed.decide(&held_by("a", 0), "b", at(7)), Decision::Wait);
        assert_eq!(observed.decide(&held_by("a", 1), "b", at(8)), Decision::Wait, "it was renewed");
        assert_eq!(observed.decide(&held_by("a", 1), "b", at(15)), Decision::Wait);
        assert_eq!(observed.decide(&held_by("a", 1), "b", at(16)), Decision::Take);
        assert_eq!(observed.decide(&held_by("", 1), "b", at(17)), Decision::Take, "it was given back");
        assert_eq!(observed.decide(&held_by("b", 2), "b", at(18)), Decision::Renew);
    }
}
