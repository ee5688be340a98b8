//! backendAuth: keys are in Secrets of the policy's namespace.

use std::cell::RefCell;

use agentgateway_convert::policy::{self as convert, AwsCredentials, Scope};
use agentgateway_proto::v1;
use agentgateway_types::policy::{BackendAuth, SecretAwsAuth, SecretSource};

use super::{invalid, secret_text, wrong};
use crate::Name;
use crate::view::View;

const KEY: &str = "Authorization";
const ACCESS_KEY: &str = "accessKey";
const SECRET_KEY: &str = "secretKey";
const SESSION_TOKEN: &str = "sessionToken";

pub(super) fn backend_auth(
    config: &BackendAuth<SecretSource, SecretAwsAuth>,
    scope: Scope,
    policy: &Name,
    view: &View<'_>,
) -> Result<v1::PolicySpec, String> {
    if scope == Scope::McpItems && config.aws.is_some() {
        return Err("spec.backendAuth.aws: requests of MCP servers cannot be signed".to_owned());
    }
    let view = RefCell::new(view);
    let made = convert::backend_auth(
        config,
        &mut |key| {
            let source = &key.value.secret_ref;
            let text = secret_text(policy, &source.name, source.key.as_deref().unwrap_or(KEY), *view.borrow());
            convert::backend_key(key, &text.map_err(|reason| invalid("value.secretRef", reason))?)
        },
        &mut |aws| {
            let text = |key: &str| {
                let text = secret_text(policy, &aws.secret_ref.name, key, *view.borrow());
                text.map(|text| text.trim().to_owned()).map_err(|reason| invalid("secretRef", reason))
            };
            let credentials = AwsCredentials {
                access_key_id: text(ACCESS_KEY)?,
                secret_access_key: text(SECRET_KEY)?,
                // The one that lasting credentials lack.
                session_token: text(SESSION_TOKEN).unwrap_or_default(),
            };
            convert::aws(&aws.region, &aws.service, aws.unsigned_payload, credentials)
        },
    );
    made.map_err(|e| wrong("spec.backendAuth", e))
}
