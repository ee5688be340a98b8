//! All sessions of the process.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::limits::ENDED_SESSIONS;
use crate::lock;
use crate::session::Session;

type Id = [u8; 16];

/// A sharded map; no entry is held across an await.
#[derive(Debug)]
pub(crate) struct Table {
    sessions: DashMap<Id, Arc<Session>, ahash::RandomState>,
    count: AtomicUsize,
    limit: usize,
    /// Sessions that their clients ended, so that their ids, which still open, are not resumed.
    ended: Mutex<(HashSet<Id>, VecDeque<Id>)>,
}

impl Table {
    pub(crate) fn new(limit: usize) -> Self {
        Self { sessions: DashMap::default(), count: AtomicUsize::new(0), limit, ended: Mutex::default() }
    }

    pub(crate) fn get(&self, id: &Id) -> Option<Arc<Session>> {
        self.sessions.get(id).map(|entry| Arc::clone(&entry))
    }

    /// Adds a session; gives the one that is there already, or nothing when there are too many.
    pub(crate) fn insert(&self, session: Arc<Session>) -> Option<Arc<Session>> {
        if self.count.load(Ordering::Relaxed) >= self.limit {
            return None;
        }
        match self.sessions.entry(session.id) {
            Entry::Occupied(entry) => Some(Arc::clone(entry.get())),
            Entry::Vacant(entry) => {
                self.count.fetch_add(1, Ordering::Relaxed);
                entry.insert(Arc::clone(&session));
                Some(session)
            }
        }
    }

    /// Takes a session out for good.
    pub(crate) fn end(&self, id: &Id) -> Option<Arc<Session>> {
        {
            let mut ended = lock(&self.ended);
            if ended.0.insert(*id) {
                ended.1.push_back(*id);
            }
            while ended.1.len() > ENDED_SESSIONS {
                if let Some(oldest) = ended.1.pop_front() {
                    ended.0.remove(&oldest);
                }
            }
        }
        self.remove(id)
    }

    /// Takes a session out; its id can be resumed.
    pub(crate) fn remove(&self, id: &Id) -> Option<Arc<Session>> {
        let (_, session) = self.sessions.remove(id)?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(session)
    }

    pub(crate) fn was_ended(&self, id: &Id) -> bool {
        lock(&self.ended).0.contains(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Takes out all that were idle for longer than `limit`.
    pub(crate) fn sweep(&self, limit: Duration) -> Vec<Arc<Session>> {
        self.take(|session| session.is_idle(limit))
    }

    /// Takes out all.
    pub(crate) fn drain(&self) -> Vec<Arc<Session>> {
        self.take(|_| true)
    }

    fn take(&self, mut which: impl FnMut(&Session) -> bool) -> Vec<Arc<Session>> {
        let mut taken = Vec::new();
        self.sessions.retain(|_, session| {
            let take = which(session);
            if take {
                taken.push(Arc::clone(session));
            }
            !take
        });
        self.count.fetch_sub(taken.len(), Ordering::Relaxed);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Version;
    use crate::session::client_of;

    fn session(id: u8) -> Arc<Session> {
        let client = client_of("{}").unwrap();
        Arc::new(Session::new([id; 16], "b".into(), Version::LATEST, client))
    }

    #[test]
    fn as_many_as_allowed() {
        let table = Table::new(2);
        let first = table.insert(session(1)).unwrap();
        assert!(Arc::ptr_eq(&first, &table.insert(session(1)).unwrap()), "a second resumption finds the first");
        assert!(table.insert(session(2)).is_some());
        assert!(table.insert(session(3)).is_none());
        table.end(&[1; 16]);
        assert!(table.was_ended(&[1; 16]) && !table.was_ended(&[2; 16]));
        assert!(table.insert(session(3)).is_some());
        assert_eq!(table.drain().len(), 2);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn the_memory_of_ended_sessions_is_bounded() {
        let table = Table::new(1);
        for n in 0..ENDED_SESSIONS as u128 + 10 {
            table.end(&n.to_le_bytes());
        }
        assert!(!table.was_ended(&5u128.to_le_bytes()));
        assert!(table.was_ended(&20u128.to_le_bytes()));
    }
}
