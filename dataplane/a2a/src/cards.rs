//! Cards that agents gave, for when they are down.
//!
//! A card is always asked for: the agent is told which one is known by its ETag. Only where it cannot answer is the known one served
//! (RFC 9111 §4.2.4), with its age.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, VARY};

use crate::limits::{ALL_CARDS_BYTES, CARD_LIFETIME, CARDS};

/// A card as its agent gave it.
#[derive(Debug)]
pub(crate) struct Card {
    pub(crate) body: Bytes,
    pub(crate) content_type: Option<HeaderValue>,
    pub(crate) cache_control: Option<HeaderValue>,
    pub(crate) etag: Option<HeaderValue>,
    /// When the agent last said that it is this.
    pub(crate) confirmed: Instant,
}

/// The cards of all agents of the process. The lock is held for a look-up.
#[derive(Debug, Default)]
pub(crate) struct Cards(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    cards: HashMap<Key, Arc<Card>>,
    bytes: usize,
}

/// Backend, and path at the agent.
type Key = (Arc<str>, Box<str>);

impl Cards {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        // A thread that panicked inside left nothing half done that others could not live with.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, backend: &Arc<str>, path: &str) -> Option<Arc<Card>> {
        let key = (Arc::clone(backend), path.into());
        let mut kept = self.lock();
        let card = Arc::clone(kept.cards.get(&key)?);
        if card.confirmed.elapsed() > CARD_LIFETIME {
            kept.remove(&key);
            return None;
        }
        Some(card)
    }

    pub(crate) fn remove(&self, backend: &Arc<str>, path: &str) {
        self.lock().remove(&(Arc::clone(backend), path.into()));
    }

    /// Keeps a card; those that were confirmed longest ago make room.
    pub(crate) fn put(&self, backend: &Arc<str>, path: &str, card: Card) -> Arc<Card> {
        let (key, card) = ((Arc::clone(backend), path.into()), Arc::new(card));
        let mut kept = self.lock();
        kept.remove(&key);
        while kept.cards.len() >= CARDS || kept.bytes + card.body.len() > ALL_CARDS_BYTES {
            let Some(oldest) = kept.cards.iter().min_by_key(|(_, card)| card.confirmed).map(|(key, _)| key.clone())
            else {
                break;
            };
            kept.remove(&oldest);
        }
        kept.bytes += card.body.len();
        kept.cards.insert(key, Arc::clone(&card));
        card
    }
}

impl Kept {
    fn remove(&mut self, key: &Key) {
        if let Some(card) = self.cards.remove(key) {
            self.bytes -= card.body.len();
        }
    }
}

impl Card {
    pub(crate) fn new(body: Bytes, headers: &HeaderMap) -> Card {
        let of = |name| headers.get(name).cloned();
        let (content_type, cache_control, etag) = (of(CONTENT_TYPE), of(CACHE_CONTROL), of(ETAG));
        Card { body, content_type, cache_control, etag, confirmed: Instant::now() }
    }

    /// The same card, confirmed now.
    pub(crate) fn confirmed_now(&self) -> Card {
        Card {
            body: self.body.clone(),
            content_type: self.content_type.clone(),
            cache_control: self.cache_control.clone(),
            etag: self.etag.clone(),
            confirmed: Instant::now(),
        }
    }
}

/// Whether a card may be shown to others than who asked for it (RFC 9111 §3).
pub(crate) fn is_for_all(was_authenticated: bool, answer: &HeaderMap) -> bool {
    let says = |name, wanted: &str| {
        let values =
            answer.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        values
            .map(|value| value.split('=').next().unwrap_or_default().trim())
            .any(|value| value.eq_ignore_ascii_case(wanted))
    };
    let varies = answer.get_all(VARY).iter().any(|value| {
        let mut names = value.to_str().unwrap_or("*").split(',').map(str::trim);
        names.any(|name| !["accept", "accept-encoding", "origin", ""].contains(&&*name.to_ascii_lowercase()))
    });
    let forbidden = says(&CACHE_CONTROL, "no-store") || says(&CACHE_CONTROL, "private");
    !forbidden && !varies && (!was_authenticated || says(&CACHE_CONTROL, "public"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(bytes: usize) -> Card {
        Card::new(Bytes::from(vec![b'x'; bytes]), &HeaderMap::new())
    }

    #[test]
    fn cards_are_bounded_by_number_and_bytes() {
        let (cards, backend) = (Cards::default(), Arc::from("b"));
        for i in 0..CARDS + 1 {
            cards.put(&backend, &format!("/{i}"), card(1));
        }
        assert!(cards.get(&backend, "/0").is_none() && cards.get(&backend, &format!("/{CARDS}")).is_some());
        let size = |cards: &Cards| {
            let kept = cards.lock();
            (kept.cards.len(), kept.bytes)
        };
        assert_eq!(size(&cards), (CARDS, CARDS));
        for i in 0..40 {
            cards.put(&backend, &format!("/large/{i}"), card(crate::limits::CARD_BYTES));
        }
        assert!(cards.lock().bytes <= ALL_CARDS_BYTES);
        assert!(cards.get(&backend, "/large/39").is_some());
        cards.remove(&backend, "/large/39");
        assert!(cards.get(&backend, "/large/39").is_none());
    }

    #[test]
    fn what_is_for_one_is_not_kept() {
        let answer = |headers: &[(&'static str, &'static str)]| {
            let pairs = headers.iter().map(|(n, v)| (http::HeaderName::from_static(n), HeaderValue::from_static(v)));
            pairs.collect::<HeaderMap>()
        };
        assert!(is_for_all(false, &answer(&[("vary", "Accept-Encoding"), ("cache-control", "max-age=60")])));
        assert!(!is_for_all(true, &answer(&[])));
        assert!(is_for_all(true, &answer(&[("cache-control", "max-age=1, Public")])));
        for headers in
            [[("cache-control", "no-store")], [("cache-control", "private=\"x\"")], [("vary", "authorization")]]
        {
            assert!(!is_for_all(false, &answer(&headers)), "{headers:?}");
        }
    }
}
