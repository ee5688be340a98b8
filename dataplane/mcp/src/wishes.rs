//! What a client asked of a target's session once and for all: its log level and its subscriptions. When the target has
//! forgotten the session, they are asked for again, because the client does not know that there is reason to.

use std::sync::{Arc, Mutex};

use crate::limits::{WISH_BYTES, WISHES};
use crate::lock;
use crate::protocol::Method;
use crate::view::member;

/// The wishes of one session; most have none.
#[derive(Debug, Default)]
pub(crate) struct Wishes(Mutex<Vec<Wish>>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    target: Arc<str>,
    pub(crate) method: Method,
    /// As the target gets them.
    pub(crate) params: Box<str>,
}

impl Wishes {
    /// Whether a request with this method is a wish, or takes one back.
    pub(crate) fn concerns(method: Method) -> bool {
        matches!(method, Method::SetLevel | Method::ResourcesSubscribe | Method::ResourcesUnsubscribe)
    }

    /// Notes a request that the target took.
    pub(crate) fn note(&self, target: &Arc<str>, method: Method, params: &str) {
        let mut all = lock(&self.0);
        let uri = member(params, ["uri"]);
        all.retain(|known| {
            let replaced = match method {
                Method::SetLevel => known.method == Method::SetLevel,
                _ => known.method == Method::ResourcesSubscribe && member(&known.params, ["uri"]) == uri,
            };
            !(replaced && known.target == *target)
        });
        if method != Method::ResourcesUnsubscribe && all.len() < WISHES && params.len() <= WISH_BYTES {
            all.push(Wish { target: Arc::clone(target), method, params: params.into() });
        }
    }

    /// What to ask of a target's new session.
    pub(crate) fn of(&self, target: &str) -> Vec<Wish> {
        lock(&self.0).iter().filter(|wish| *wish.target == *target).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts() {
        let wishes = Wishes::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        wishes.note(&a, Method::SetLevel, r#"{"level":"info"}"#);
        wishes.note(&a, Method::SetLevel, r#"{"level":"debug"}"#);
        wishes.note(&b, Method::SetLevel, r#"{"level":"info"}"#);
        wishes.note(&a, Method::ResourcesSubscribe, r#"{"uri":"x"}"#);
        wishes.note(&a, Method::ResourcesSubscribe, r#"{ "uri" : "x" }"#);
        wishes.note(&a, Method::ResourcesSubscribe, r#"{"uri":"y"}"#);
        wishes.note(&a, Method::ResourcesUnsubscribe, r#"{"uri":"y"}"#);
        let params: Vec<_> = wishes.of("a").into_iter().map(|w| w.params).collect();
        assert_eq!(params, [r#"{"level":"debug"}"#.into(), Box::from(r#"{ "uri" : "x" }"#)]);
        assert_eq!(wishes.of("b").len(), 1);
    }

    #[test]
    fn not_more_than_allowed() {
        let wishes = Wishes::default();
        for n in 0..WISHES + 5 {
            wishes.note(&"a".into(), Method::ResourcesSubscribe, &format!(r#"{{"uri":"{n}"}}"#));
        }
        assert_eq!(wishes.of("a").len(), WISHES);
    }
}
