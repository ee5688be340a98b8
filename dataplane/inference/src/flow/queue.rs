//! Waiting requests: the highest priority first; within one, in the order in which they came or one of each tenant in turn.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tokio::sync::oneshot;

use super::Waiting;

/// What ends the wait: whether the request was pushed out by one of a higher priority.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Evicted(pub(super) bool);

/// Names a waiting request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    priority: i32,
    tenant: String,
    number: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    bytes: usize,
    go: oneshot::Sender<Evicted>,
}

#[derive(Debug, Default)]
struct Band {
    tenants: HashMap<String, VecDeque<Entry>>,
    /// Tenants in the order of their turns.
    turns: VecDeque<String>,
    takes_turns: bool,
    requests: usize,
    bytes: usize,
}

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Queues {
    bands: BTreeMap<i32, Band>,
    next: u64,
    requests: usize,
    bytes: usize,
}

impl Queues {
    pub(super) fn is_empty(&self) -> bool {
        self.requests == 0
    }

    pub(super) fn len(&self) -> usize {
        self.requests
    }

    /// Puts a request in; None where it does not fit. Where all are too many, those of lower priority that came last make room.
    pub(super) fn push(
        &mut self,
        limits: &Waiting,
        priority: i32,
        tenant: String,
        bytes: usize,
        go: oneshot::Sender<Evicted>,
    ) -> Option<Ticket> {
        let bounds = limits.band(priority);
        let (requests, held) = self.bands.get(&priority).map_or((0, 0), |band| (band.requests, band.bytes));
        if requests >= bounds.max_requests || held.saturating_add(bytes) > bounds.max_bytes.min(limits.max_bytes) {
            return None;
        }
        while self.requests >= limits.max_requests || self.bytes.saturating_add(bytes) > limits.max_bytes {
            if !self.evict_below(priority) {
                return None;
            }
        }
        let number = self.next;
        self.next += 1;
        let band = self.bands.entry(priority).or_default();
        band.takes_turns = bounds.takes_turns;
        if !band.tenants.contains_key(&tenant) {
            band.turns.push_back(tenant.clone());
        }
        band.tenants.entry(tenant.clone()).or_default().push_back(Entry { number, bytes, go });
        (band.requests, band.bytes) = (band.requests + 1, band.bytes + bytes);
        (self.requests, self.bytes) = (self.requests + 1, self.bytes + bytes);
        Some(Ticket { priority, tenant, number })
    }

    /// Lets the next one go; says whether there was one.
    pub(super) fn pop(&mut self) -> bool {
        while let Some((priority, tenant)) = self.first() {
            let Some(entry) = self.take(priority, &tenant, |queue| queue.pop_front()) else { return false };
            // One that left in this moment is no one's turn.
            if entry.go.send(Evicted(false)).is_ok() {
                return true;
            }
        }
        false
    }

    /// Whose turn it is.
    fn first(&self) -> Option<(i32, String)> {
        let (priority, band) = self.bands.iter().next_back()?;
        let tenant = if band.takes_turns {
            band.turns.front()?
        } else {
            let came = |tenant: &&String| band.tenants.get(*tenant).and_then(|queue| queue.front()).map(|e| e.number);
            band.turns.iter().min_by_key(came)?
        };
        Some((*priority, tenant.clone()))
    }

    /// Pushes the one out that came last of the lowest priority, if that is below `priority`.
    fn evict_below(&mut self, priority: i32) -> bool {
        let Some((lowest, band)) = self.bands.iter().next() else { return false };
        if *lowest >= priority {
            return false;
        }
        let last = |tenant: &&String| band.tenants.get(*tenant).and_then(|queue| queue.back()).map(|e| e.number);
        let Some(tenant) = band.turns.iter().max_by_key(last).cloned() else { return false };
        let lowest = *lowest;
        match self.take(lowest, &tenant, |queue| queue.pop_back()) {
            Some(entry) => {
                let _gone = entry.go.send(Evicted(true));
                true
            }
            None => false,
        }
    }

    /// Takes one out that does not wait any more.
    pub(super) fn remove(&mut self, ticket: &Ticket) {
        let found = |queue: &mut VecDeque<Entry>| {
            let at = queue.iter().position(|entry| entry.number == ticket.number)?;
            queue.remove(at)
        };
        let has = self.bands.get(&ticket.priority).and_then(|band| band.tenants.get(&ticket.tenant));
        if has.is_some_and(|queue| queue.iter().any(|entry| entry.number == ticket.number)) {
            self.take(ticket.priority, &ticket.tenant, found);
        }
    }

    /// Takes one of a tenant, whose turn comes last then.
    fn take(
        &mut self,
        priority: i32,
        tenant: &str,
        which: impl FnOnce(&mut VecDeque<Entry>) -> Option<Entry>,
    ) -> Option<Entry> {
        let band = self.bands.get_mut(&priority)?;
        let queue = band.tenants.get_mut(tenant)?;
        let entry = which(queue)?;
        band.turns.retain(|name| name != tenant);
        if queue.is_empty() {
            band.tenants.remove(tenant);
        } else {
            band.turns.push_back(tenant.to_owned());
        }
        (band.requests, band.bytes) = (band.requests - 1, band.bytes - entry.bytes);
        (self.requests, self.bytes) = (self.requests - 1, self.bytes - entry.bytes);
        if band.requests == 0 {
            self.bands.remove(&priority);
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use agentgateway_proto::v1::{InferenceFlowControl, inference_flow_control::Band as Config};

    use super::super::FlowControl;
    use super::*;

    type Turn = oneshot::Receiver<Evicted>;

    fn limits(config: InferenceFlowControl) -> Waiting {
        let config = InferenceFlowControl { waits: true, ..config };
        FlowControl::compile(Some(&config)).expect("compiles").waiting.expect("they wait")
    }

    fn push(
        queues: &mut Queues,
        limits: &Waiting,
        priority: i32,
        tenant: &str,
        bytes: usize,
    ) -> Option<(Ticket, Turn)> {
        let (go, turn) = oneshot::channel();
        queues.push(limits, priority, tenant.into(), bytes, go).map(|ticket| (ticket, turn))
    }

    /// Numbers of those that go, in order.
    fn order(queues: &mut Queues, waiting: &mut [(Ticket, Turn)]) -> Vec<usize> {
        let mut order = Vec::new();
        while queues.pop() {
            order.push(waiting.iter_mut().position(|(_, turn)| turn.try_recv().is_ok()).expect("one goes"));
        }
        order
    }

    #[test]
    fn priorities_come_first_and_then_who_came_first() {
        let limits = limits(InferenceFlowControl::default());
        let mut queues = Queues::default();
        let of = [(0, "a"), (-1, "a"), (5, "a"), (0, "b"), (5, "b")];
        let mut all: Vec<_> = of.iter().map(|(p, t)| push(&mut queues, &limits, *p, t, 1).expect("fits")).collect();
        assert_eq!(order(&mut queues, &mut all), [2, 4, 0, 3, 1]);
        assert!(queues.is_empty() && queues.bytes == 0 && queues.bands.is_empty());
    }

    #[test]
    fn tenants_take_turns_where_the_band_says_so() {
        let band = Config { priority: 0, fairness: 1, ..Config::default() };
        let limits = limits(InferenceFlowControl { bands: vec![band], ..Default::default() });
        let mut queues = Queues::default();
        let of = ["a", "a", "a", "b", "a", "c"];
        let mut all: Vec<_> = of.iter().map(|t| push(&mut queues, &limits, 0, t, 1).expect("fits")).collect();
        assert_eq!(order(&mut queues, &mut all), [0, 3, 5, 1, 2, 4]);
    }

    #[test]
    fn who_does_not_fit_is_refused_or_pushes_a_lower_priority_out() {
        let band = Config { priority: 1, max_requests: 2, ..Config::default() };
        let limits =
            limits(InferenceFlowControl { max_requests: 3, max_bytes: 100, bands: vec![band], ..Default::default() });
        let mut queues = Queues::default();
        let _first = push(&mut queues, &limits, 0, "a", 10).expect("fits");
        let mut second = push(&mut queues, &limits, 0, "b", 10).expect("fits");
        let _third = push(&mut queues, &limits, 1, "a", 10).expect("fits");
        assert!(push(&mut queues, &limits, 0, "c", 10).is_none(), "nobody is below it");
        let _fourth = push(&mut queues, &limits, 1, "a", 10).expect("pushes one out");
        assert_eq!(second.1.try_recv(), Ok(Evicted(true)), "the one that came last");
        assert!(push(&mut queues, &limits, 1, "a", 10).is_none(), "its own band is full");
        assert!(push(&mut queues, &limits, 2, "a", 101).is_none(), "more than all may have");
        assert_eq!(queues.len(), 3, "and nobody goes for it");
    }

    #[test]
    fn who_leaves_is_no_ones_turn() {
        let limits = limits(InferenceFlowControl::default());
        let mut queues = Queues::default();
        let (ticket, turn) = push(&mut queues, &limits, 0, "a", 7).expect("fits");
        let (_, gone) = push(&mut queues, &limits, 0, "a", 7).expect("fits");
        let mut last = push(&mut queues, &limits, 0, "b", 7).expect("fits");
        drop((turn, gone));
        queues.remove(&ticket);
        queues.remove(&ticket);
        assert_eq!(queues.len(), 2);
        assert!(queues.pop());
        assert_eq!(last.1.try_recv(), Ok(Evicted(false)));
        assert!(!queues.pop());
    }
}
