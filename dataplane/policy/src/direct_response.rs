//! Answers of the gateway's own, in the backend's stead.

use agentgateway_proto::v1;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use crate::{Reason, Reply};

/// A compiled answer.
#[derive(Debug)]
pub(crate) struct DirectResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl DirectResponse {
    pub(crate) fn compile(spec: &v1::DirectResponse) -> Result<DirectResponse, String> {
        let status = u16::try_from(spec.status_code).ok().filter(|code| (200..600).contains(code));
        let status = status.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or_else(|| format!("{} is no status code of an answer", spec.status_code))?;
        let mut headers = HeaderMap::new();
        for header in &spec.headers {
            let name: HeaderName =
                header.name.parse().map_err(|_| format!("{:?} is not a header name", header.name))?;
            let value = HeaderValue::try_from(&header.value).map_err(|_| format!("{name} has no valid value"))?;
            headers.append(name, value);
        }
        if !spec.body.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        Ok(DirectResponse { status, headers, body: Bytes::from(spec.body.clone()) })
    }

    pub(crate) fn reply(&self) -> Reply {
        let mut response = Response::new(self.body.clone());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        Reply { response, reason: Reason::DirectResponse }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_what_is_written() {
        let header = |name: &str, value: &str| v1::Header { name: name.into(), value: value.into() };
        let spec =
            v1::DirectResponse { status_code: 503, body: "later".into(), headers: vec![header("retry-after", "9")] };
        let response = DirectResponse::compile(&spec).expect("compiles").reply().response;
        assert_eq!((response.status().as_u16(), &response.body()[..]), (503, &b"later"[..]));
        assert_eq!(response.headers()["retry-after"], "9");
        assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
        let json = v1::DirectResponse { headers: vec![header("Content-Type", "application/json")], ..spec.clone() };
        let response = DirectResponse::compile(&json).expect("compiles").reply().response;
        assert_eq!(response.headers().get_all("content-type").iter().count(), 1);
        assert!(DirectResponse::compile(&v1::DirectResponse { status_code: 101, ..spec }).is_err());
    }
}
