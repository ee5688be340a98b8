//! How the gateway authenticates to backends: with what authentication took off the request, with a key of its own, or with
//! a signature of AWS. Of a request's chains the most specific one that says something counts.

mod aws;

use agentgateway_proto::v1::{BackendAuthentication as Spec, backend_authentication::Kind};
use http::request::Parts;
use http::{HeaderName, HeaderValue, header};

pub use self::aws::{PayloadHash, Signer};
use crate::RequestContext;

/// A compiled policy.
#[derive(Debug)]
pub enum BackendAuthentication {
    /// The caller's own credentials.
    Passthrough,
    /// A key of the gateway's own.
    Key(HeaderName, HeaderValue),
    /// A signature over the request as it is sent.
    Aws(Box<Signer>),
}

impl BackendAuthentication {
    /// Compiles it.
    ///
    /// # Errors
    /// Why it cannot be applied, for the operator.
    pub fn compile(spec: &Spec) -> Result<BackendAuthentication, String> {
        match &spec.kind {
            Some(Kind::Passthrough(_)) => Ok(BackendAuthentication::Passthrough),
            Some(Kind::Key(key)) => {
                let name = if key.header.is_empty() { header::AUTHORIZATION.as_str() } else { &key.header };
                let name = name.parse().map_err(|_| format!("{name:?} is not a header name"))?;
                let mut value =
                    HeaderValue::try_from(&key.value).map_err(|_| "the key is no header value".to_owned())?;
                if value.is_empty() {
                    return Err("the key is empty".into());
                }
                value.set_sensitive(true);
                Ok(BackendAuthentication::Key(name, value))
            }
            Some(Kind::Aws(aws)) => Ok(BackendAuthentication::Aws(Box::new(Signer::compile(aws)?))),
            None => Err("it names no way to authenticate that this proxy knows".into()),
        }
    }

    /// Gives the request its credentials, as far as they do not depend on how it is sent.
    pub fn apply(&self, head: &mut Parts, context: &RequestContext) {
        match self {
            BackendAuthentication::Passthrough => context.credentials.put_back(head),
            BackendAuthentication::Key(name, value) => drop(head.headers.insert(name, value.clone())),
            BackendAuthentication::Aws(_) => {}
        }
    }

    /// What signs the request as it is sent.
    pub fn signer(&self) -> Option<&Signer> {
        match self {
            BackendAuthentication::Aws(signer) => Some(signer),
            BackendAuthentication::Passthrough | BackendAuthentication::Key(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use agentgateway_proto::v1::backend_authentication::{Key, Passthrough};

    use super::*;
    use crate::Credentials;
    use crate::testing::{context, request};

    fn compile(kind: Option<Kind>) -> Result<BackendAuthentication, String> {
        BackendAuthentication::compile(&Spec { kind })
    }

    #[test]
    fn passthrough_puts_back_what_was_taken_off() {
        let passthrough = compile(Some(Kind::Passthrough(Passthrough {}))).expect("compiles");
        let mut context = context();
        context.credentials = Credentials::bearer(HeaderValue::from_static("Bearer a"));
        let mut head = request("GET", "/", &[]);
        passthrough.apply(&mut head, &context);
        assert_eq!(head.headers["authorization"], "Bearer a");
    }

    #[test]
    fn a_key_takes_the_place_of_what_the_caller_sent() {
        let key = |header: &str, value: &str| Kind::Key(Key { header: header.into(), value: value.into() });
        let own = compile(Some(key("", "Bearer own"))).expect("compiles");
        let mut head = request("GET", "/", &[("authorization", "Bearer a"), ("authorization", "Bearer b")]);
        own.apply(&mut head, &context());
        let all: Vec<_> = head.headers.get_all("authorization").iter().collect();
        assert_eq!(all, ["Bearer own"]);
        assert!(!format!("{own:?} {head:?}").contains("own\""), "{own:?} {head:?}");
        for wrong in [None, Some(key("a b", "x")), Some(key("", "")), Some(key("", "a\r\nb"))] {
            let error = compile(wrong).map(|_| ()).expect_err("wrong");
            assert!(!error.contains("\r\n"), "{error}");
        }
    }
}
