//! What the keeper of a backend knows: its endpoints, which of them are ejected and until when, and what comes next.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use ahash::{AHashMap, AHashSet};

use super::breaker::Shared;
use super::check::Progress;
use super::member::Member;
use super::settings::Settings;
use super::view::View;
use super::{Placed, Source};
use crate::endpoint::Endpoint;

/// The state of one backend. Time comes in as an argument.
#[derive(Debug)]
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) source: Source,
    shared: Arc<Shared>,
    pub(super) kept: Vec<Kept>,
    /// What is known of each host of the source.
    hosts: Vec<Known>,
    /// Endpoints that come after the first ones start slowly.
    had_endpoints: bool,
    pub(super) ejections: u64,
}

/// What is known of a name.
#[derive(Debug, Default)]
struct Known {
    /// The last ones.
    addresses: Vec<IpAddr>,
    /// When to look it up again; None while that is done, and for what is an address.
    again: Option<Instant>,
    /// It is an address, or was looked up, be it in vain.
    answered: bool,
}

/// An endpoint.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) member: Arc<Member>,
    pub(super) level: u32,
    /// Ejections that are not forgiven.
    times: u32,
    ejected_until: Option<Instant>,
    forgiven_at: Option<Instant>,
    started_at: Option<Instant>,
    pub(super) check: Progress,
}

impl State {
    pub(super) fn new(settings: Settings, source: Source, shared: Arc<Shared>) -> State {
        let mut state =
            State { settings, source, shared, kept: Vec::new(), hosts: Vec::new(), had_endpoints: false, ejections: 0 };
        state.begin_source();
        state.place(Instant::now());
        state
    }

    /// Takes other policies or endpoints over; says whether requests see something of it.
    pub(super) fn configure(&mut self, settings: Settings, source: Source, now: Instant) -> bool {
        if settings.outlier.is_none() {
            for kept in &mut self.kept {
                kept.readmit();
                kept.times = 0;
            }
        }
        if settings.check != self.settings.check {
            for kept in &mut self.kept {
                kept.member.unhealthy.store(false, Ordering::Relaxed);
                kept.check = Progress::default();
            }
        }
        if settings.slow_start.is_none() {
            self.kept.iter_mut().for_each(Kept::started);
        }
        let same_hosts = match (&self.source, &source) {
            (Source::Names { hosts: old, .. }, Source::Names { hosts: new, .. }) => {
                old.iter().map(|(host, _)| host).eq(new.iter().map(|(host, _)| host))
            }
            _ => false,
        };
        (self.settings, self.source) = (settings, source);
        if !same_hosts {
            self.begin_source();
        }
        self.place(now);
        true
    }

    fn begin_source(&mut self) {
        let literal = |name: &str| name.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        self.hosts = match &self.source {
            Source::Fixed(_) => Vec::new(),
            Source::Names { hosts, .. } => hosts
                .iter()
                .map(|(host, _)| match literal(&host.name) {
                    Some(address) => Known { addresses: vec![address], again: None, answered: true },
                    None => Known { again: Some(Instant::now()), ..Known::default() },
                })
                .collect(),
        };
    }

    /// Names whose time has come, by their place; they are not given again until they are answered.
    pub(super) fn due_names(&mut self, now: Instant) -> Vec<(usize, String)> {
        let Source::Names { hosts: sources, .. } = &self.source else { return Vec::new() };
        let mut due = Vec::new();
        for (at, (known, (host, _))) in self.hosts.iter_mut().zip(sources).enumerate() {
            if known.again.is_some_and(|again| again <= now) {
                known.again = None;
                due.push((at, host.name.clone()));
            }
        }
        due
    }

    /// The answer about a name; one that failed leaves the last addresses.
    pub(super) fn resolved(
        &mut self,
        (at, name): (usize, &str),
        addresses: Option<Vec<IpAddr>>,
        again: Instant,
        now: Instant,
    ) -> bool {
        let Source::Names { hosts: sources, .. } = &self.source else { return false };
        let (Some(host), Some((source, _))) = (self.hosts.get_mut(at), sources.get(at)) else { return false };
        if source.name != name {
            return false;
        }
        (host.again, host.answered) = (Some(again), true);
        let Some(addresses) = addresses else { return false };
        if host.addresses == addresses {
            return false;
        }
        host.addresses = addresses;
        self.place(now);
        true
    }

    /// Whether every name was looked up, or is an address.
    pub(super) fn is_resolved(&self) -> bool {
        self.hosts.iter().all(|known| known.answered)
    }

    /// Brings the endpoints in line with the source; what is known of those that stay is kept.
    fn place(&mut self, now: Instant) {
        let placed: Vec<Placed> = match &self.source {
            Source::Fixed(placed) => placed.clone(),
            Source::Names { hosts, connecting, registry } => hosts
                .iter()
                .zip(&self.hosts)
                .flat_map(|((host, level), known)| {
                    known.addresses.iter().map(|address| Placed {
                        endpoint: registry.get((*address, host.port).into(), connecting),
                        level: *level,
                    })
                })
                .collect(),
        };
        let old = std::mem::take(&mut self.kept).into_iter().map(|kept| (kept.member.endpoint.id, kept));
        let mut old: AHashMap<u64, Kept> = old.collect();
        let mut seen = AHashSet::with_capacity(placed.len());
        for Placed { endpoint, level } in placed {
            if !seen.insert(endpoint.id) {
                continue;
            }
            let mut kept = match old.remove(&endpoint.id) {
                Some(kept) => kept,
                None => {
                    let mut kept = self.add(endpoint);
                    if self.had_endpoints {
                        kept.start(&self.settings, now);
                    }
                    kept
                }
            };
            kept.level = level;
            self.kept.push(kept);
        }
        self.had_endpoints |= !self.kept.is_empty();
    }

    fn add(&self, endpoint: Arc<Endpoint>) -> Kept {
        Kept {
            member: Arc::new(Member::new(endpoint, Arc::clone(&self.shared))),
            level: 0,
            times: 0,
            ejected_until: None,
            forgiven_at: None,
            started_at: None,
            check: Progress::default(),
        }
    }

    /// Ejects what failed, lets return what has waited; says whether requests see something of it.
    pub(super) fn tend(&mut self, now: Instant) -> bool {
        let mut changed = false;
        let over = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        let total = self.kept.len();
        let mut ejected = self.kept.iter().filter(|kept| kept.ejected_until.is_some()).count();
        for kept in &mut self.kept {
            if over(kept.ejected_until) {
                kept.readmit();
                kept.forgiven_at = self.settings.outlier.as_ref().map(|outlier| now + outlier.interval);
                kept.start(&self.settings, now);
                (ejected, changed) = (ejected - 1, true);
            }
            if over(kept.started_at) {
                kept.started();
                changed = true;
            }
            if over(kept.forgiven_at) {
                kept.times = kept.times.saturating_sub(1);
                let interval = self.settings.outlier.as_ref().map(|outlier| outlier.interval);
                kept.forgiven_at = interval.filter(|_| kept.times > 0).map(|interval| now + interval);
            }
            let suspect = kept.member.suspect.load(Ordering::Relaxed);
            let Some(outlier) = self.settings.outlier.as_ref().filter(|_| suspect) else { continue };
            kept.member.forget_failures();
            let most = (total * outlier.max_ejected / 100).max(usize::from(outlier.max_ejected > 0));
            if kept.ejected_until.is_some() || ejected >= most {
                continue;
            }
            kept.times = kept.times.saturating_add(1);
            let lasts = outlier.base.saturating_mul(kept.times).min(outlier.max);
            kept.ejected_until = Some(now + lasts);
            kept.forgiven_at = None;
            kept.member.ejected.store(true, Ordering::Relaxed);
            self.ejections += 1;
            (ejected, changed) = (ejected + 1, true);
            tracing::info!(endpoint = %kept.member.endpoint.address(), ?lasts, "endpoint ejected");
        }
        changed
    }

    /// When something happens next without being asked for.
    pub(super) fn next(&self) -> Option<Instant> {
        let of_kept = self.kept.iter().flat_map(|kept| [kept.ejected_until, kept.forgiven_at, kept.started_at]);
        of_kept.chain(self.hosts.iter().map(|known| known.again)).flatten().min()
    }

    pub(super) fn view(&self) -> View {
        let placed: Vec<_> = self.kept.iter().map(|kept| (Arc::clone(&kept.member), kept.level)).collect();
        View::new(&placed, &self.settings)
    }
}

impl Kept {
    fn readmit(&mut self) {
        self.ejected_until = None;
        self.member.ejected.store(false, Ordering::Relaxed);
        self.member.forget_failures();
    }

    /// Serves again, or for the first time: with a small share where the policy says so.
    pub(super) fn start(&mut self, settings: &Settings, now: Instant) {
        if let Some(slow) = &settings.slow_start {
            self.member.start_slowly();
            self.started_at = Some(now + slow.window);
        }
    }

    fn started(&mut self) {
        self.started_at = None;
        self.member.has_started();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agentgateway_proto::v1::{OutlierDetection, PolicySpec, policy_spec};

    use super::*;
    use crate::endpoint::{Connecting, EndpointRegistry};

    fn state(endpoints: u8, outlier: OutlierDetection) -> State {
        let spec = PolicySpec { kind: Some(policy_spec::Kind::OutlierDetection(outlier)) };
        let settings = Settings::compile(std::iter::once(&spec)).expect("compiles").expect("is set");
        let registry = EndpointRegistry::default();
        let placed = (1..=endpoints)
            .map(|i| Placed { endpoint: registry.get(([10, 0, 0, i], 80).into(), &Connecting::default()), level: 0 })
            .collect();
        State::new(settings, Source::Fixed(placed), Arc::new(Shared::default()))
    }

    fn suspect(state: &State, which: usize) {
        state.kept[which].member.suspect.store(true, Ordering::Relaxed);
    }

    fn ejected(state: &State) -> Vec<bool> {
        state.kept.iter().map(|kept| kept.member.ejected.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn ejections_grow_with_their_number_and_are_forgiven() {
        let mut state = state(2, OutlierDetection { max_ejection_milliseconds: Some(70_000), ..Default::default() });
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut now = start;
        for lasts in [30, 60, 70, 70] {
            suspect(&state, 0);
            assert!(state.tend(now));
            assert!(!state.tend(now + second * (lasts - 1)) && ejected(&state) == [true, false], "{lasts}");
            now += second * lasts;
            assert_eq!(state.next(), Some(now));
            assert!(state.tend(now) && ejected(&state) == [false, false]);
            now += second;
        }
        // Four earlier ejections, forgiven one each interval of ten seconds.
        for _ in 0..4 {
            now = state.next().expect("is forgiven");
            state.tend(now);
        }
        assert_eq!(state.next(), None);
        suspect(&state, 0);
        state.tend(now);
        assert_eq!(state.next(), Some(now + second * 30));
        assert_eq!(state.ejections, 5);
    }

    #[test]
    fn no_more_are_ejected_than_allowed_but_one_always() {
        let of = |endpoints, percent| {
            let mut state = state(endpoints, OutlierDetection { max_ejection_percent: percent, ..Default::default() });
            (0..usize::from(endpoints)).for_each(|i| suspect(&state, i));
            state.tend(Instant::now());
            ejected(&state).iter().filter(|e| **e).count()
        };
        assert_eq!((of(4, None), of(20, None), of(4, Some(50)), of(4, Some(100)), of(4, Some(0))), (1, 2, 2, 4, 0));
    }

    #[test]
    fn what_is_known_of_an_endpoint_outlives_a_change() {
        let mut state = state(3, OutlierDetection::default());
        let now = Instant::now();
        suspect(&state, 1);
        state.tend(now);
        let Source::Fixed(mut placed) = state.source.clone() else { panic!("fixed") };
        placed.remove(0);
        state.configure(state.settings.clone(), Source::Fixed(placed), now);
        assert_eq!(ejected(&state), [true, false]);
    }
}
