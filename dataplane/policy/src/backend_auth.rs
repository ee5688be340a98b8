//! How the gateway authenticates to backends: passthrough puts back what authentication took off the request.

use agentgateway_proto::v1::{BackendAuthentication, backend_authentication::Kind};
use http::header;
use http::request::Parts;

use crate::RequestContext;

/// Whether the policy is a passthrough, the one kind there is.
pub(crate) fn compile(spec: &BackendAuthentication) -> Result<(), String> {
    match spec.kind {
        Some(Kind::Passthrough(_)) => Ok(()),
        None => Err("it names no way to authenticate that this proxy knows".into()),
    }
}

impl RequestContext {
    /// Puts the caller's credentials back on the request, where authentication took them off and nothing has replaced them.
    pub fn restore_credentials(&self, head: &mut Parts) {
        if let Some(credentials) = &self.credentials
            && !head.headers.contains_key(header::AUTHORIZATION)
        {
            head.headers.insert(header::AUTHORIZATION, credentials.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use crate::testing::{context, request};

    #[test]
    fn puts_back_what_was_taken_off_and_replaces_nothing() {
        let mut context = context();
        let mut head = request("GET", "/", &[]);
        context.restore_credentials(&mut head);
        assert!(head.headers.is_empty());
        context.credentials = Some(HeaderValue::from_static("Bearer a"));
        context.restore_credentials(&mut head);
        assert_eq!(head.headers["authorization"], "Bearer a");
        let mut head = request("GET", "/", &[("authorization", "Basic b")]);
        context.restore_credentials(&mut head);
        assert_eq!(head.headers["authorization"], "Basic b");
    }
}
