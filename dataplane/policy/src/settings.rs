//! What policies set for the exchange with the backend: timeouts, retries, session persistence, mirrors. Unlike steps of a
//! chain they do nothing to a request themselves; the pipeline reads them.

use std::sync::Arc;
use std::time::Duration;

use agentgateway_proto::v1;

use crate::Chain;
use crate::retry::Retry;
use crate::session::SessionPersistence;

/// Settings of one chain.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) backend_request_timeout: Option<Duration>,
    pub(crate) retry: Option<Arc<Retry>>,
    pub(crate) session: Option<Arc<SessionPersistence>>,
    pub(crate) mirrors: Vec<Mirror>,
}

impl Settings {
    /// Takes what is not set yet, and says whether there was something: of the policies of one chain the most specific come
    /// first.
    pub(crate) fn add_timeouts(&mut self, spec: &v1::Timeouts) -> bool {
        let mut takes = false;
        let mut take = |of: &mut Option<Duration>, milliseconds: Option<u64>| {
            takes |= of.is_none() && milliseconds.is_some();
            *of = of.or(milliseconds.map(Duration::from_millis));
        };
        take(&mut self.request_timeout, spec.request_milliseconds);
        take(&mut self.backend_request_timeout, spec.backend_request_milliseconds);
        takes
    }
}

/// A backend that gets copies of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Key of the backend.
    pub backend: Arc<str>,
    /// Of `denominator` requests so many are mirrored.
    pub numerator: u32,
    /// Not 0.
    pub denominator: u32,
}

impl Mirror {
    /// None: nothing is mirrored.
    pub(crate) fn compile(spec: &v1::RequestMirror) -> Result<Option<Mirror>, String> {
        let (numerator, denominator) = match (spec.numerator, spec.denominator) {
            (0, 0) => (1, 1),
            (n, 0) => return Err(format!("{n} of 0 requests cannot be mirrored")),
            (n, d) if n > d => return Err(format!("{n} of {d} requests cannot be mirrored")),
            fraction => fraction,
        };
        if spec.backend_key.is_empty() || numerator == 0 {
            return Ok(None);
        }
        Ok(Some(Mirror { backend: spec.backend_key.as_str().into(), numerator, denominator }))
    }
}

/// The settings that hold for one request: of each field the one of the most specific chain that sets it.
#[derive(Debug, Default)]
pub struct Exchange {
    /// From the head of the request to the end of the response.
    pub request_timeout: Option<Duration>,
    /// From one try's request to the head of its response.
    pub backend_request_timeout: Option<Duration>,
    /// None: only connections that did not come about are tried again.
    pub retry: Option<Arc<Retry>>,
    /// None: each request gets any endpoint.
    pub session: Option<Arc<SessionPersistence>>,
    /// Mirrors of all chains.
    pub mirrors: Vec<Mirror>,
}

impl Exchange {
    /// What these chains set, the most specific first. None when they set nothing, which is told without an allocation.
    pub fn of<'a>(chains: impl Iterator<Item = &'a Chain>) -> Option<Exchange> {
        let mut all: Option<Exchange> = None;
        for settings in chains.filter_map(Chain::settings) {
            let to = all.get_or_insert_default();
            to.request_timeout = to.request_timeout.or(settings.request_timeout);
            to.backend_request_timeout = to.backend_request_timeout.or(settings.backend_request_timeout);
            to.retry = to.retry.take().or_else(|| settings.retry.clone());
            to.session = to.session.take().or_else(|| settings.session.clone());
            to.mirrors.extend(settings.mirrors.iter().cloned());
        }
        let mut all = all?;
        // Zero hides what a less specific chain sets, and means none (GEP-2257).
        all.request_timeout = all.request_timeout.filter(|t| !t.is_zero());
        all.backend_request_timeout = all.backend_request_timeout.filter(|t| !t.is_zero());
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use agentgateway_proto::v1::policy_spec::Kind;

    use super::*;
    use crate::{Attached, State};

    fn chain(kinds: Vec<Kind>) -> Chain {
        let specs: Vec<_> = kinds.into_iter().map(|kind| v1::PolicySpec { kind: Some(kind) }).collect();
        let attached: Vec<_> = specs.iter().map(|spec| Attached { spec, source: "s", key: "k" }).collect();
        Chain::compile(&attached, &State::new())
    }

    fn timeouts(request: Option<u64>, backend: Option<u64>) -> Kind {
        Kind::Timeouts(v1::Timeouts { request_milliseconds: request, backend_request_milliseconds: backend })
    }

    #[test]
    fn the_most_specific_value_of_each_field_counts() {
        let rule = chain(vec![timeouts(None, Some(100)), timeouts(Some(700), Some(900))]);
        let listener = chain(vec![timeouts(Some(5000), Some(5000))]);
        let exchange = Exchange::of([&rule, &listener].into_iter()).expect("is set");
        assert_eq!(exchange.request_timeout, Some(Duration::from_millis(700)));
        assert_eq!(exchange.backend_request_timeout, Some(Duration::from_millis(100)));
    }

    #[test]
    fn zero_switches_a_less_specific_timeout_off() {
        let (rule, listener) = (chain(vec![timeouts(Some(0), None)]), chain(vec![timeouts(Some(5000), None)]));
        let exchange = Exchange::of([&rule, &listener].into_iter()).expect("is set");
        assert_eq!(exchange.request_timeout, None);
    }

    #[test]
    fn chains_without_settings_set_nothing() {
        assert!(Exchange::of([&chain(vec![]), &Chain::default()].into_iter()).is_none());
    }

    #[test]
    fn mirrors_of_all_chains_add_up_and_invalid_references_are_left_out() {
        let mirror = |key: &str, numerator, denominator| {
            Kind::RequestMirror(v1::RequestMirror { backend_key: key.into(), numerator, denominator })
        };
        let rule = chain(vec![mirror("a", 0, 0), mirror("", 1, 2), mirror("never", 0, 100)]);
        let reference = chain(vec![mirror("b", 35, 100)]);
        let exchange = Exchange::of([&reference, &rule].into_iter()).expect("is set");
        let found: Vec<_> = exchange.mirrors.iter().map(|m| (&*m.backend, m.numerator, m.denominator)).collect();
        assert_eq!(found, [("b", 35, 100), ("a", 1, 1)]);
        assert_eq!(chain(vec![mirror("a", 3, 2)]).errors().len(), 1);
    }
}
