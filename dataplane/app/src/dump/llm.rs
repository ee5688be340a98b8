//! LLM backends, without keys.

use agentgateway_proto::key;
use agentgateway_proto::v1;
use serde_json::{Map, Value, json};

pub(super) fn backend(llm: &v1::LlmBackend) -> Value {
    let groups: Vec<Value> = llm
        .groups
        .iter()
        .map(|group| json!({ "providers": group.providers.iter().map(provider).collect::<Vec<_>>() }))
        .collect();
    let mut out = json!({ "groups": groups });
    if !llm.aliases.is_empty() {
        out["modelAliases"] = aliases(&llm.aliases);
    }
    out
}

fn provider(provider: &v1::LlmProvider) -> Value {
    let mut out = json!({
        "name": provider.name,
        "weight": provider.weight,
        "provider": provider.system,
        "apis": provider.apis().map(|api| api.as_str_name()).collect::<Vec<_>>(),
        "backend": key::print_backend_key(&provider.backend_key),
        "path": if provider.full_path.is_empty() { &provider.base_path } else { &provider.full_path },
    });
    if !provider.model.is_empty() {
        out["model"] = provider.model.as_str().into();
    }
    if !provider.aliases.is_empty() {
        out["modelAliases"] = aliases(&provider.aliases);
    }
    let auth = provider.auth.as_ref().and_then(|auth| auth.kind.as_ref());
    if let Some(auth) = auth {
        use v1::backend_authentication::Kind;
        out["backendAuth"] = match auth {
            Kind::Passthrough(_) => json!({ "passthrough": {} }),
            Kind::Key(key) => json!({ "key": { "header": key.header } }),
            Kind::Aws(aws) => json!({ "aws": { "region": aws.region } }),
        };
    }
    out
}

fn aliases(all: &[v1::LlmAlias]) -> Value {
    all.iter().map(|alias| (alias.pattern.clone(), alias.model.clone().into())).collect::<Map<_, _>>().into()
}
