//! The endpoints of a backend that get requests, in levels: those of the first level while enough of them are healthy, then
//! little by little those of the next. Immutable; made anew when an endpoint comes, goes, fails or returns.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::member::Member;
use super::settings::{Algorithm, Settings, SlowStart};
use super::table::Table;
use crate::endpoint::Endpoint;
use crate::random::random_below;

/// So many healthy endpoints of a hundred, times this by 100, are what a level can take: it has some room to spare.
const ROOM: usize = 140;
/// Other endpoints that are looked at when one cannot be used at this moment.
const LOOKS: usize = 4;

/// What requests see.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) all: Box<[Arc<Member>]>,
    /// In order, also those that get requests only when nothing else can be used.
    levels: Box<[Level]>,
    /// Set while an endpoint has less than its share.
    slow_start: Option<SlowStart>,
}

#[derive(Debug)]
struct Level {
    /// Requests, of a hundred, that it gets.
    share: usize,
    /// Those that this level and those before it get.
    until: usize,
    members: Box<[Arc<Member>]>,
    algorithm: Algorithm,
    table: Option<Table>,
    turn: AtomicUsize,
}

impl View {
    /// `placed` are members with their levels.
    pub(super) fn new(placed: &[(Arc<Member>, u32)], settings: &Settings) -> View {
        let mut numbers: Vec<u32> = placed.iter().map(|(_, level)| *level).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let of = |number: u32| placed.iter().filter(move |(_, level)| *level == number).map(|(member, _)| member);
        let healthy = |number: u32| of(number).filter(|member| member.gets_requests()).count();
        let room = |number: u32| (healthy(number) * ROOM / of(number).count().max(1)).min(100);
        let total: usize = numbers.iter().map(|number| room(*number)).sum();
        let (mut levels, mut until) = (Vec::new(), 0);
        for number in &numbers {
            // When all levels together cannot take everything, what is there is shared out, and a level with few healthy
            // endpoints uses all: what is said of so many at one time is probably wrong, and a few would break down.
            let panics = total < 100 && healthy(*number) * 100 < settings.panic * of(*number).count();
            let share = match total {
                0 if panics && until == 0 => 100,
                0 => 0,
                1..100 => room(*number) * 100 / total,
                _ => room(*number).min(100 - until),
            };
            let members: Box<[_]> = of(*number).filter(|m| panics || m.gets_requests()).cloned().collect();
            if !members.is_empty() {
                until += share;
                levels.push(Level::new((share, until), members, settings.algorithm));
            }
        }
        // What rounding left over.
        if let Some(last) = levels.iter().rposition(|level| level.share > 0) {
            levels.iter_mut().skip(last).for_each(|level| level.until = 100);
        }
        let starts = placed.iter().any(|(member, _)| member.serves().is_some());
        View {
            all: placed.iter().map(|(member, _)| Arc::clone(member)).collect(),
            levels: levels.into(),
            slow_start: settings.slow_start.filter(|_| starts),
        }
    }

    /// An endpoint for a request; none of `tried` while there are others.
    pub(super) fn pick(&self, hash: Option<u64>, tried: &[Arc<Endpoint>]) -> Option<&Arc<Member>> {
        if !tried.is_empty() {
            return self.pick_other(tried).or_else(|| self.pick(hash, &[]));
        }
        let level = match &*self.levels {
            [] => return None,
            [only] => only,
            levels => {
                // One key stays in one level, too.
                let draw = hash.map_or_else(|| random_below(100), |hash| usize::try_from(hash % 100).unwrap_or(0));
                levels.iter().find(|level| draw < level.until)?
            }
        };
        let mut picked = None;
        for nth in 0..LOOKS {
            picked = level.draw(hash, nth).or(picked);
            if picked.is_some_and(|member| !member.endpoint.is_avoided() && self.is_ready(member, hash)) {
                return picked;
            }
        }
        // One that refused just now, or has not its whole share yet, is better than none.
        match picked {
            Some(member) if member.endpoint.is_avoided() => self.pick_usable(hash).or(picked),
            _ => picked,
        }
    }

    /// An endpoint of any level that did not refuse just now.
    fn pick_usable(&self, hash: Option<u64>) -> Option<&Arc<Member>> {
        self.levels.iter().find_map(|level| level.usable(hash))
    }

    fn pick_other(&self, tried: &[Arc<Endpoint>]) -> Option<&Arc<Member>> {
        let others = |level: &'_ Level| -> Vec<usize> {
            let fresh = |m: &Arc<Member>| !tried.iter().any(|t| t.address() == m.endpoint.address());
            (0..level.members.len()).filter(|i| level.members.get(*i).is_some_and(fresh)).collect()
        };
        self.levels.iter().find_map(|level| {
            let others = others(level);
            let usable = |i: &&usize| level.members.get(**i).is_some_and(|m| !m.endpoint.is_avoided());
            let count = others.iter().filter(usable).count();
            let at = match count {
                0 => others.get(random_below(others.len())),
                n => others.iter().filter(usable).nth(random_below(n)),
            };
            at.and_then(|at| level.members.get(*at))
        })
    }

    /// Whether a draw of an endpoint that has just come counts; those with a hash go where it leads.
    fn is_ready(&self, member: &Member, hash: Option<u64>) -> bool {
        let (Some(slow), None, Some(serves)) = (&self.slow_start, hash, member.serves()) else { return true };
        random_below(1000) as f64 <= slow.share(serves) * 1000.0
    }

    /// Endpoints that get requests.
    pub(super) fn serving(&self) -> usize {
        self.levels.iter().filter(|level| level.share > 0).map(|level| level.members.len()).sum()
    }
}

impl Level {
    fn new((share, until): (usize, usize), members: Box<[Arc<Member>]>, algorithm: Algorithm) -> Level {
        let names = || members.iter().map(|m| m.endpoint.address().to_string()).collect::<Vec<_>>();
        let table = match algorithm {
            Algorithm::Ring(least, most) => Some(Table::ring(&names(), least, most)),
            Algorithm::Maglev => Some(Table::maglev(&names())),
            Algorithm::LeastRequest(_) | Algorithm::RoundRobin => None,
        };
        Level { share, until, members, algorithm, table, turn: AtomicUsize::new(0) }
    }

    /// Looks at all: draws may give the same ones again and again.
    fn usable(&self, hash: Option<u64>) -> Option<&Arc<Member>> {
        let n = self.members.len();
        let first = hash.and_then(|hash| usize::try_from(hash).ok()?.checked_rem(n)).unwrap_or_else(|| random_below(n));
        let (before, after) = self.members.split_at_checked(first)?;
        after.iter().chain(before).find(|member| !member.endpoint.is_avoided())
    }

    fn draw(&self, hash: Option<u64>, nth: usize) -> Option<&Arc<Member>> {
        let n = self.members.len();
        let any = || self.members.get(random_below(n));
        if let (Some(table), Some(hash)) = (&self.table, hash) {
            return self.members.get(table.find(hash, nth)?);
        }
        match self.algorithm {
            Algorithm::RoundRobin => self.members.get(self.turn.fetch_add(1, Ordering::Relaxed) % n.max(1)),
            Algorithm::LeastRequest(choices) if choices > 1 && n > 1 => {
                // At least two different ones: the second is drawn among the others.
                let first = random_below(n);
                let second = random_below(n - 1);
                let second = if second >= first { second + 1 } else { second };
                let more = (2..choices).map(|_| random_below(n));
                let drawn = [first, second].into_iter().chain(more).filter_map(|i| self.members.get(i));
                drawn.min_by_key(|m| (m.endpoint.is_avoided(), m.endpoint.in_flight()))
            }
            _ => any(),
        }
    }
}

#[cfg(test)]
mod tests;
