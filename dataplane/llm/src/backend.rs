//! LLM backends, compiled.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use agentgateway_llm_format::Model;
use agentgateway_pipeline::Error;
use agentgateway_pipeline::protocol::{BackendRequest, ProtocolBackend, ProtocolFactory};
use agentgateway_pipeline::worker::Worker;
use agentgateway_proto::v1;
use agentgateway_upstream::{Body, Cluster};
use futures::future::LocalBoxFuture;
use http::Response;

use crate::aliases::Aliases;
use crate::choose::Groups;
use crate::offload::Offload;
use crate::provider::Provider;
use crate::request;
use crate::rest::Rest;

/// An LLM backend.
#[derive(Debug)]
pub(crate) struct LlmBackend {
    pub(crate) groups: Groups,
    pub(crate) aliases: Aliases,
    /// Models that the configuration names, for clients that ask for a list.
    pub(crate) models: Box<[Model]>,
    pub(crate) offload: Arc<Offload>,
}

/// Makes LLM backends; knows which of their providers rest.
#[derive(Debug, Clone, Default)]
pub struct LlmFactory {
    offload: Arc<Offload>,
    /// By backend and provider; kept while a backend uses them.
    rests: Arc<Mutex<HashMap<(String, String), Weak<Rest>>>>,
}

impl LlmFactory {
    fn rest(&self, backend: &str, provider: &str) -> Arc<Rest> {
        let mut rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        let known = (backend.to_owned(), provider.to_owned());
        if let Some(rest) = rests.get(&known).and_then(Weak::upgrade) {
            return rest;
        }
        rests.retain(|_, rest| rest.strong_count() > 0);
        let fresh = Arc::new(Rest::default());
        rests.insert(known, Arc::downgrade(&fresh));
        fresh
    }

    fn compile_backend(
        &self,
        backend: &v1::Backend,
        clusters: &dyn Fn(&str) -> Option<Arc<Cluster>>,
    ) -> Result<LlmBackend, String> {
        let Some(v1::backend::Kind::Llm(spec)) = &backend.kind else {
            return Err("it is not an LLM backend".into());
        };
        let compile = |provider: &v1::LlmProvider| {
            let rest = self.rest(&backend.key, &provider.name);
            Provider::compile(provider, rest, clusters).map(Arc::new)
        };
        let group = |group: &v1::LlmGroup| group.providers.iter().map(compile).collect::<Result<Box<[_]>, String>>();
        let groups = Groups(spec.groups.iter().map(group).collect::<Result<_, String>>()?);
        if groups.providers().all(|provider| provider.weight == 0) {
            return Err("it has no provider with a weight".into());
        }
        let aliases = Aliases::compile(&spec.aliases)?;
        let models = models(&groups, &aliases);
        Ok(LlmBackend { groups, aliases, models, offload: Arc::clone(&self.offload) })
    }
}

/// Every name that clients can use and that the configuration knows, once.
fn models(groups: &Groups, aliases: &Aliases) -> Box<[Model]> {
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let mut models: Vec<Model> = Vec::new();
    let mut add = |id: &str, owner: &str| {
        if !models.iter().any(|model| model.id == id) {
            models.push(Model { id: id.to_owned(), owner: owner.to_owned(), created });
        }
    };
    aliases.names().for_each(|name| add(name, "agentgateway"));
    for provider in groups.providers() {
        provider.model.iter().for_each(|model| add(model, &provider.system));
        provider.aliases.names().for_each(|name| add(name, &provider.system));
    }
    models.into()
}

impl ProtocolFactory for LlmFactory {
    fn compile(
        &self,
        backend: &v1::Backend,
        clusters: &dyn Fn(&str) -> Option<Arc<Cluster>>,
    ) -> Result<Arc<dyn ProtocolBackend>, String> {
        Ok(Arc::new(self.compile_backend(backend, clusters)?))
    }
}

impl ProtocolBackend for LlmBackend {
    fn handle(
        self: Arc<Self>,
        request: BackendRequest,
        worker: Rc<Worker>,
    ) -> LocalBoxFuture<'static, Result<Response<Body>, Error>> {
        Box::pin(request::handle(self, request, worker))
    }
}
