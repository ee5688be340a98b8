//! Keys: the client's own, wherever its API has it, and what the provider is shown.

use agentgateway_policy::{BackendAuthentication, PayloadHash, RequestContext};
use agentgateway_proto::v1;
use http::request::Parts;
use http::{HeaderName, HeaderValue, header};

/// Where clients of the known APIs have their keys, besides `Authorization`.
const KEY_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-goog-api-key"),
    HeaderName::from_static("api-key"),
];

/// How the gateway authenticates to a provider.
#[derive(Debug)]
pub(crate) enum Key {
    /// Not at all: a model of one's own.
    None,
    /// With the client's key, in this header and after this prefix.
    OfClient { header: HeaderName, prefix: Box<str> },
    /// With the gateway's own.
    Own(BackendAuthentication),
}

impl Key {
    pub(crate) fn compile(spec: &v1::LlmProvider) -> Result<Key, String> {
        let Some(auth) = &spec.auth else { return Ok(Key::None) };
        match BackendAuthentication::compile(auth)? {
            BackendAuthentication::Passthrough => {
                let name = if spec.key_header.is_empty() { header::AUTHORIZATION.as_str() } else { &spec.key_header };
                let header = name.parse().map_err(|_| format!("{name:?} is not a header name"))?;
                Ok(Key::OfClient { header, prefix: spec.key_prefix.as_str().into() })
            }
            own => Ok(Key::Own(own)),
        }
    }

    /// Takes the client's credentials off the head for the provider, and gives it those of the provider, but for a signature.
    /// `client` is the head as policies left it.
    ///
    /// # Errors
    /// The client's key is to be passed on, and there is none: what to tell it.
    pub(crate) fn apply(
        &self,
        head: &mut Parts,
        client: &Parts,
        context: &RequestContext,
    ) -> Result<(), &'static str> {
        match self {
            Key::None => strip(head),
            Key::Own(own) => {
                strip(head);
                own.apply(head, context);
            }
            Key::OfClient { header, prefix } => {
                let key = if context.credentials.is_empty() {
                    of_client(client)
                } else {
                    let mut client = client.clone();
                    context.credentials.put_back(&mut client);
                    of_client(&client)
                };
                let key = key.ok_or("the request has no API key")?;
                strip(head);
                let mut value =
                    HeaderValue::try_from(format!("{prefix}{key}")).map_err(|_| "the API key is not a header value")?;
                value.set_sensitive(true);
                head.headers.insert(header, value);
            }
        }
        Ok(())
    }

    /// Signs a head that is as it will be sent.
    pub(crate) fn sign(&self, head: &mut Parts, body: &[u8]) {
        if let Key::Own(own) = self
            && let Some(signer) = own.signer()
        {
            let mut hash = PayloadHash::default();
            hash.update(body);
            signer.sign(head, signer.needs_body().then_some(&hash));
        }
    }

    /// Whether the body must be there before the head is sent.
    pub(crate) fn signs_body(&self) -> bool {
        matches!(self, Key::Own(own) if own.signer().is_some_and(|signer| signer.needs_body()))
    }
}

fn of_client(head: &Parts) -> Option<String> {
    let text = |name: &HeaderName| head.headers.get(name)?.to_str().ok();
    if let Some(value) = text(&header::AUTHORIZATION) {
        let bearer = value.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("bearer "));
        return bearer.and(value.get(7..)).map(|key| key.trim().to_owned());
    }
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
        let spec =
            v1::LlmProvider { auth, key_header: header.into(), key_prefix: prefix.into(), ..Default::default() };
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
            pass.apply(&mut head, &client, &context()).expect("has a key");
            assert_eq!(head.headers["x-api-key"], "k1", "{name}");
            assert!(!head.headers.contains_key("authorization") && !head.headers.contains_key("cookie"));
            assert!(!format!("{head:?}").contains("x-api-key\": \"k1"), "it is no secret in {head:?}");
        }
        for none in [head("/", &[]), head("/", &[("authorization", "Basic eA==")])] {
            assert!(pass.apply(&mut none.clone(), &none, &context()).is_err());
        }
    }

    #[test]
    fn no_provider_gets_what_was_meant_for_the_gateway() {
        let all = [("authorization", "Bearer a"), ("x-api-key", "a"), ("x-goog-api-key", "a"), ("api-key", "a")];
        let own = auth::Key { header: String::new(), value: "Bearer own".into() };
        let client = head("/", &all);
        let (mut with, mut without) = (client.clone(), client.clone());
        key(Some(auth::Kind::Key(own)), "", "").apply(&mut with, &client, &context()).expect("applies");
        key(None, "", "").apply(&mut without, &client, &context()).expect("applies");
        assert_eq!(with.headers.len(), 1);
        assert_eq!(with.headers["authorization"], "Bearer own");
        assert!(without.headers.is_empty());
    }
}
