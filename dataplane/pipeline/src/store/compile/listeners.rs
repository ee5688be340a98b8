//! Compiles listeners, and puts them together to binds.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use agentgateway_proto::kind::Kind;
use agentgateway_proto::v1::bind::Transport;
use agentgateway_proto::v1::listener::Protocol;
use agentgateway_proto::{key, v1};
use agentgateway_router::HostMap;
use agentgateway_tls::{HTTP_ALPN, Server};

use super::{Compiled, Store, port};
use crate::bind_limits::BindLimits;
use crate::snapshot::{Bind, Listener, Listeners, Tls, TlsListener};

impl Store {
    pub(super) fn compile_listener(
        &mut self,
        key: &Arc<str>,
        reject: &mut dyn FnMut(Kind, &str, String),
    ) -> Result<(), String> {
        let Some(listener) = self.index.listener(key) else {
            self.listeners.remove(key);
            return Ok(());
        };
        let tls = match listener.protocol() {
            Protocol::Unspecified | Protocol::Http => None,
            Protocol::Https => Some(self.tls(listener, HTTP_ALPN)),
            // Without settings connections are passed through.
            Protocol::Tls if listener.tls.is_none() => return self.compile_streams(key, None),
            Protocol::Tls => return self.compile_streams(key, Some(self.tls(listener, &[]))),
            Protocol::Tcp | Protocol::Udp => return self.compile_streams(key, None),
        };
        let problem = tls.as_ref().and_then(|tls| tls.as_ref().err()).map(ToString::to_string);
        let policies = self.chain(std::iter::empty(), self.index.policies_of_listener(listener), reject);
        let gateway = key::print_object(listener.gateway.as_ref());
        let metrics = self.environment.metrics.listener(key, &gateway, &listener.name);
        let printed: Arc<str> = key::print_listener(listener).into();
        let router = match self.listeners.remove(key) {
            Some(Compiled::Http(before)) => before.router,
            _ => agentgateway_router::Router::default(),
        };
        let compiled = Listener { key: Arc::clone(key), printed, tls, policies, router, metrics };
        self.listeners.insert(Arc::clone(key), Compiled::Http(compiled));
        problem.map_or(Ok(()), Err)
    }

    /// The listener's TLS; as it was where its settings are, so that sessions of clients stay good.
    fn tls(&self, listener: &v1::Listener, alpn: &[&str]) -> Tls {
        let settings = listener.tls.clone().unwrap_or_default();
        let before = match self.listeners.get(listener.key.as_str()) {
            Some(Compiled::Http(before)) => before.tls.as_ref(),
            Some(Compiled::Stream(before)) => before.tls.as_ref(),
            None => None,
        };
        if let Some(Ok(server)) = before
            && server.is_of(&settings, alpn)
        {
            return Ok(Arc::clone(server));
        }
        Server::compile(&settings, alpn).map(Arc::new).map_err(|e| format!("TLS of the listener: {e}").into())
    }

    /// Publishes a changed listener in its bind.
    pub(super) fn publish_listener(&mut self, key: &Arc<str>) {
        let (Some(listener), Some(compiled)) = (self.index.listener(key), self.listeners.get(key)) else { return };
        if let Some(bind) = self.snapshot.binds.get_mut(listener.bind_key.as_str()) {
            // One that is not of the bind's kind was refused when the bind was compiled.
            let _ = Arc::make_mut(bind).listeners.insert(listener, compiled);
        }
    }

    /// Puts a bind's listeners together; those that are gone go.
    pub(super) fn compile_bind(&mut self, key: &Arc<str>) -> Result<(), String> {
        let Some(bind) = self.index.bind(key) else {
            self.snapshot.binds.remove(key);
            return Ok(());
        };
        let ip: IpAddr = bind.address.parse().map_err(|_| format!("address {:?} is no IP address", bind.address))?;
        let address = SocketAddr::new(ip, port(bind.port)?);
        let known = |number: i32| v1::bind::ProxyProtocol::try_from(number).ok();
        // One that this release does not know must not be read as none: sources would be those of the balancer before.
        let proxy_protocol = known(bind.proxy_protocol).ok_or("the PROXY protocol's setting is not known")?;
        let all: Vec<Arc<str>> = self.index.listeners_of_bind(key).collect();
        let all: Vec<(&v1::Listener, &Compiled)> =
            all.iter().filter_map(|key| Some((self.index.listener(key)?, self.listeners.get(key)?))).collect();
        let mut listeners = Listeners::of_kind(bind.transport(), &all);
        let mut problem = None;
        for (listener, compiled) in all {
            if let Err(reason) = listeners.insert(listener, compiled) {
                problem = Some(reason);
            }
        }
        let limits = bind.limits.as_ref().map(|l| BindLimits::compile(l, key, &self.environment.policy_state));
        let limits = limits.map(Arc::new);
        let compiled = Bind { address, transport: bind.transport(), proxy_protocol, limits, listeners };
        self.snapshot.binds.insert(Arc::clone(key), Arc::new(compiled));
        problem.map_or(Ok(()), Err)
    }
}

/// The kind of a listener, for what may share a port.
fn is_tls(listener: &v1::Listener) -> bool {
    matches!(listener.protocol(), Protocol::Https | Protocol::Tls)
}

impl Listeners {
    /// Empty, of the kind that these listeners make it. Where several do, TLS outranks plaintext: what is meant to be
    /// encrypted is then refused in plaintext, and not the other way round.
    fn of_kind(transport: Transport, all: &[(&v1::Listener, &Compiled)]) -> Listeners {
        if transport == Transport::Udp {
            Listeners::Stream(None)
        } else if all.iter().any(|(listener, _)| is_tls(listener)) {
            Listeners::Tls(HostMap::default())
        } else if all.is_empty() || all.iter().any(|(_, compiled)| matches!(compiled, Compiled::Http(_))) {
            Listeners::Http(HostMap::default())
        } else {
            Listeners::Stream(None)
        }
    }

    fn insert(&mut self, listener: &v1::Listener, compiled: &Compiled) -> Result<(), String> {
        let replaced = match (&mut *self, compiled) {
            (Listeners::Http(all), Compiled::Http(http)) if !is_tls(listener) => {
                all.insert(&listener.hostname, Arc::new(http.clone())).is_some_and(|old| old.key != http.key)
            }
            (Listeners::Tls(all), compiled) if is_tls(listener) => {
                let fresh = match compiled {
                    Compiled::Http(http) => TlsListener::Https(Arc::new(http.clone())),
                    Compiled::Stream(stream) => TlsListener::Stream(Arc::clone(stream)),
                };
                let key = fresh.key().clone();
                all.insert(&listener.hostname, fresh).is_some_and(|old| *old.key() != key)
            }
            (Listeners::Stream(only), Compiled::Stream(stream)) if !is_tls(listener) => {
                only.replace(Arc::clone(stream)).is_some_and(|old| old.key != stream.key)
            }
            _ => {
                let (name, protocol) = (&listener.name, listener.protocol().as_str_name());
                return Err(format!("listener {name} speaks {protocol}, which cannot share the port with the others"));
            }
        };
        match (&*self, replaced) {
            (_, false) => Ok(()),
            (Listeners::Stream(_), true) => Err("two listeners of the bind speak TCP or UDP".to_owned()),
            (_, true) => Err(format!("two listeners of the bind have host name {:?}", listener.hostname)),
        }
    }
}
