//! Rules on items: what one caller may see and use.

use std::sync::Arc;

use agentgateway_policy::{Chain, McpItem, RequestContext};
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::backend::McpBackend;
use crate::target::Target;

/// The rules that hold for one request, with what they speak of.
#[derive(Debug)]
pub(crate) struct Authorizer {
    /// Chains that have rules; most requests meet none.
    chains: Vec<Arc<Chain>>,
    head: Parts,
    context: RequestContext,
}

impl Authorizer {
    pub(crate) fn new(policies: Vec<Arc<Chain>>, head: Parts, context: RequestContext) -> Self {
        let chains = policies.into_iter().filter(|c| !c.mcp_authorization().is_empty()).collect();
        Self { chains, head, context }
    }

    /// A header of the client's request.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.head.headers.get(name)
    }

    /// All headers of the client's request.
    pub(crate) fn headers(&self) -> &http::HeaderMap {
        &self.head.headers
    }

    /// Whether everything is allowed.
    pub(crate) fn is_open(&self) -> bool {
        self.chains.is_empty()
    }

    pub(crate) fn allows_tool(
        &self,
        backend: &McpBackend,
        target: &Target,
        name: &str,
        arguments: Option<&Value>,
    ) -> bool {
        if self.is_open() {
            return true;
        }
        let federated_name = backend.naming.name(target.index, name);
        self.allows(&McpItem::Tool { target: &target.name, name, federated_name: &federated_name, arguments })
    }

    pub(crate) fn allows_prompt(
        &self,
        backend: &McpBackend,
        target: &Target,
        name: &str,
        arguments: Option<&Value>,
    ) -> bool {
        if self.is_open() {
            return true;
        }
        let federated_name = backend.naming.name(target.index, name);
        self.allows(&McpItem::Prompt { target: &target.name, name, federated_name: &federated_name, arguments })
    }

    /// `name` is empty when a client names a URI without having listed it.
    pub(crate) fn allows_resource(&self, target: &Target, uri: &str, name: &str) -> bool {
        self.is_open() || self.allows(&McpItem::Resource { target: &target.name, uri, name })
    }

    fn allows(&self, item: &McpItem<'_>) -> bool {
        let input = self.context.input(&self.head);
        self.chains.iter().flat_map(|c| c.mcp_authorization()).all(|rules| rules.allows(item, &input))
    }
}
