//! Keys: the client's own, wherever its API has it, and what the provider is shown.

use std::sync::Arc;

use agentgateway_policy::{BackendAuthentication, Chain, PayloadHash, RequestContext};
use agentgateway_proto::v1;
use http::request::Parts;
use http::{HeaderName, HeaderValue, header};

/// Where clients of the known APIs have their keys, besides `Authorization`.
const KEY_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-goog-api-key"),
    HeaderName::from_static("api-key"),
];

/// Where the provider's API has its key, and the key that is the provider's own.
#[derive(Debug)]
pub(crate) struct Key {
    /// None: what the request's policies say.
    own: Option<Arc<BackendAuthentication>>,
    header: HeaderName,
    prefix: Box<str>,
}

/// How the gateway authenticates one request to a provider.
#[derive(Debug)]
pub(crate) struct InForce<'a> {
    key: &'a Key,
    /// None: not at all, as with a model of one's own.
    auth: Option<Arc<BackendAuthentication>>,
}

impl Key {
    pub(crate) fn compile(spec: &v1::LlmProvider) -> Result<Key, String> {
        let own = spec.auth.as_ref().map(BackendAuthentication::compile).transpose()?.map(Arc::new);
        let name = if spec.key_header.is_empty() { header::AUTHORIZATION.as_str() } else { &spec.key_header };
        let header = name.parse().map_err(|_| format!("{name:?} is not a header name"))?;
        Ok(Key { own, header, prefix: spec.key_prefix.as_str().into() })
    }

    /// What is in force for a request with these policies, the most specific of which is the last.
    pub(crate) fn in_force(&self, policies: &[Arc<Chain>]) -> InForce<'_> {
        let of_policies = || policies.iter().rev().find_map(|chain| chain.backend_auth());
        InForce { key: self, auth: self.own.as_ref().or_else(of_policies).cloned() }
    }
}

impl InForce<'_> {
    /// Takes the client's credentials off the head for the provider, and gives it those of the provider, but for a signature.
    /// `client` is the head as policies left it.
    ///
    /// # Errors
    /// The client's key is to be passed on, and there is none: what to tell it.
    pub(crate) fn apply(&self, head: &mut Parts, client: &Parts, context: &RequestContext) -> Result<(), &'static str> {
        strip(head);
        let key = match self.auth.as_deref() {
            None | Some(BackendAuthentication::Aws(_)) => return Ok(()),
            Some(BackendAuthentication::Passthrough) if context.credentials.is_empty() => {
                of_client(client).ok_or("the request has no API key")?
            }
            Some(BackendAuthentication::Passthrough) => {
                let mut client = client.clone();
                context.credentials.put_back(&mut client);
                of_client(&client).ok_or("the request has no API key")?
            }
            Some(own @ BackendAuthentication::Key(name, value)) => {
                // Policies know nothing of the provider: their usual place for a key may not be its API's.
                let moves = self.key.own.is_none() && *name == header::AUTHORIZATION && self.key.header != *name;
                match bearer(value).filter(|_| moves) {
                    Some(key) => key.to_owned(),
                    None => {
                        own.apply(head, context);
                        return Ok(());
                    }
                }
            }
        };
        let value = format!("{}{key}", self.key.prefix);
        let mut value = HeaderValue::try_from(value).map_err(|_| "the API key is not a header value")?;
        value.set_sensitive(true);
        head.headers.insert(&self.key.header, value);
        Ok(())
    }

    /// Signs a head that is as it will be sent.
    pub(crate) fn sign(&self, head: &mut Parts, body: &[u8]) {
        if let Some(signer) = self.auth.as_deref().and_then(BackendAuthentication::signer) {
            let mut hash = PayloadHash::default();
            hash.update(body);
            signer.sign(head, signer.needs_body().then_some(&hash));
        }
    }

    /// Whether the body must be there before the head is sent.
    pub(crate) fn signs_body(&self) -> bool {
        self.auth.as_deref().and_then(BackendAuthentication::signer).is_some_and(|signer| signer.needs_body())
    }
}

/// The token of an `Authorization: Bearer`.
fn bearer(value: &HeaderValue) -> Option<&str> {
    let value = value.to_str().ok()?;
    let scheme = value.get(..7)?;
    value.get(7..).filter(|_| scheme.eq_ignore_ascii_case("bearer ")).map(str::trim).filter(|key| !key.is_empty())
}

fn of_client(head: &Parts) -> Option<String> {
    if let Some(value) = head.headers.get(header::AUTHORIZATION) {
        return bearer(value).map(str::to_owned);
    }
    let text = |name: &HeaderName| head.headers.get(name)?.to_str().ok().filter(|key| !key.is_empty());
    if let Some(key) = KEY_HEADERS.iter().find_map(text) {
        return Some(key.to_owned());
    }
    let key = head.uri.query()?.split('&').find_map(|pair| pair.strip_prefix("key="))?;
    // Keys of Google are letters, digits, - and _: nothing to decode.
    Some(key.to_owned())
}

/// No provider gets what was meant for the gateway.
fn strip(head: &mut Parts) {
    head.headers.remove(header::AUTHORIZATION);
    head.headers.remove(header::COOKIE);
    KEY_HEADERS.iter().for_each(|name| drop(head.headers.remove(name)));
}

#[cfg(test)]
mod tests {
    use agentgateway_proto::v1::backend_authentication as auth;

    use super::*;

    fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let builder = headers.iter().fold(http::Request::get(uri), |builder, (n, v)| builder.header(*n, *v));
        builder.body(()).expect("a request").into_parts().0
    }

    fn context() -> RequestContext {
        RequestContext::new(([127, 0, 0, 1], 1).into(), "http", 80)
    }

    fn key(kind: Option<auth::Kind>, header: &str, prefix: &str) -> Key {
        let auth = kind.map(|kind| v1::BackendAuthentication { kind: Some(kind) });
        let spec = v1::LlmProvider { auth, key_header: header.into(), key_prefix: prefix.into(), ..Default::default() };
        Key::compile(&spec).expect("compiles")
    }

    #[test]
    fn the_clients_key_is_found_where_each_api_has_it() {
        let pass = key(Some(auth::Kind::Passthrough(auth::Passthrough {})), "x-api-key", "");
        for (uri, name, value) in [
            ("/", "authorization", "Bearer k1"),
            ("/", "Authorization", "bearer  k1"),
            ("/", "x-api-key", "k1"),
            ("/", "x-goog-api-key", "k1"),
            ("/", "api-key", "k1"),
            ("/?alt=sse&key=k1", "x", "y"),
        ] {
            let client = head(uri, &[(name, value), ("cookie", "a=b")]);
            let mut head = client.clone();
            pass.in_force(&[]).apply(&mut head, &client, &context()).expect("has a key");
            assert_eq!(head.headers["x-api-key"], "k1", "{name}");
            assert!(!head.headers.contains_key("authorization") && !head.headers.contains_key("cookie"));
            assert!(!format!("{head:?}").contains("x-api-key\": \"k1"), "it is no secret in {head:?}");
        }
        for none in [head("/", &[]), head("/", &[("authorization", "Basic eA==")])] {
            assert!(pass.in_force(&[]).apply(&mut none.clone(), &none, &context()).is_err());
        }
    }

    #[test]
    fn no_provider_gets_what_was_meant_for_the_gateway() {
        let all = [("authorization", "Bearer a"), ("x-api-key", "a"), ("x-goog-api-key", "a"), ("api-key", "a")];
        let own = auth::Key { header: String::new(), value: "Bearer own".into() };
        let client = head("/", &all);
        let (mut with, mut without) = (client.clone(), client.clone());
        key(Some(auth::Kind::Key(own)), "", "").in_force(&[]).apply(&mut with, &client, &context()).expect("applies");
        key(None, "", "").in_force(&[]).apply(&mut without, &client, &context()).expect("applies");
        assert_eq!(with.headers.len(), 1);
        assert_eq!(with.headers["authorization"], "Bearer own");
        assert!(without.headers.is_empty());
    }
}
