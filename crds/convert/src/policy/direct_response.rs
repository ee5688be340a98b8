//! Answers of the gateway's own, and the host name of backends.

use agentgateway_proto::v1::{self, policy_spec::Kind};
use agentgateway_types::Path;
use agentgateway_types::policy::DirectResponse;

use super::{headers, spec};
use crate::error::Error;

/// An answer in the backend's stead.
pub fn direct_response(policy: &DirectResponse) -> Result<v1::PolicySpec, Error> {
    let status = policy.status;
    if !(200..=599).contains(&status) {
        return Err(Error::invalid(Path::of("status"), format!("{status} is not from 200 to 599")));
    }
    if policy.body.is_some() && matches!(status, 204 | 304) {
        return Err(Error::invalid(Path::of("body"), format!("an answer with status {status} has no body")));
    }
    let headers = headers("headers", &policy.headers)?;
    const FRAMING: [&str; 4] = ["connection", "content-length", "transfer-encoding", "upgrade"];
    if let Some(i) = headers.iter().position(|h| FRAMING.iter().any(|name| h.name.eq_ignore_ascii_case(name))) {
        let reason = "frames the message, which the gateway does itself";
        return Err(Error::invalid(Path::of("headers").index(i).key("name"), reason));
    }
    Ok(spec(Kind::DirectResponse(v1::DirectResponse {
        status_code: status.into(),
        body: policy.body.clone().unwrap_or_default(),
        headers,
    })))
}

/// Requests get the host name of their backend.
pub fn auto_host_rewrite() -> v1::PolicySpec {
    spec(Kind::AutoHostRewrite(v1::AutoHostRewrite {}))
}

#[cfg(test)]
mod tests {
    use agentgateway_types::policy::Header;

    use super::*;

    #[test]
    fn an_answer_has_a_final_status_and_frames_nothing_itself() {
        let of = |status, body: Option<&str>, header: &str| {
            let headers = vec![Header { name: header.into(), value: "x".into() }];
            direct_response(&DirectResponse { status, body: body.map(Into::into), headers })
        };
        assert!(of(503, Some("later"), "retry-after").is_ok());
        for (wrong, field) in [
            (of(101, None, "x"), "status"),
            (of(204, Some("x"), "x"), "body"),
            (of(200, None, "Content-Length"), "headers[0].name"),
        ] {
            assert_eq!(wrong.expect_err(field).path().to_string(), field);
        }
    }
}
