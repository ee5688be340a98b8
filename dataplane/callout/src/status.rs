//! The status of a call, in the headers or trailers of its answer.

use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, StatusCode};
use prost::Message;

use crate::Error;

/// Whether a gRPC service answered at all.
pub(crate) fn of_head(status: StatusCode) -> Result<(), Error> {
    match status {
        StatusCode::OK => Ok(()),
        // A proxy's answer in its place (gRPC, "HTTP to gRPC Status Code Mapping").
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            Err(Error::Status { code: 14, message: format!("HTTP status {status}"), pause: None })
        }
        status => Err(Error::Answer(format!("HTTP status {status}; is it a gRPC service?"))),
    }
}

/// An error unless the status is OK.
pub(crate) fn of(headers: &HeaderMap) -> Result<(), Error> {
    let text = headers.get("grpc-status").and_then(|s| s.to_str().ok());
    match text.and_then(|s| s.parse().ok()) {
        Some(0) => Ok(()),
        Some(code) => {
            let message = headers.get("grpc-message").and_then(|m| m.to_str().ok()).unwrap_or_default();
            Err(Error::Status { code, message: message.to_owned(), pause: pause(headers) })
        }
        None => Err(Error::Answer("it has no grpc-status".into())),
    }
}

/// `google.rpc.Status`, as far as details matter.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(message, repeated, tag = "3")]
    all: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// How long the service asks to be left alone.
fn pause(headers: &HeaderMap) -> Option<Duration> {
    // Senders may leave the padding out.
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
    let bytes = BASE64.decode(headers.get("grpc-status-details-bin")?).ok()?;
    let details = Details::decode(&bytes[..]).ok()?.all;
    let info = details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&info.value[..]).ok()?.delay.unwrap_or_default();
    let (seconds, nanos) = (u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?);
    (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_when_to_come_back() {
        let info = RetryInfo { delay: Some(Delay { seconds: 2, nanos: 500_000_000 }) };
        let detail =
            Detail { type_url: "type.googleapis.com/google.rpc.RetryInfo".into(), value: info.encode_to_vec() };
        let details = Details { all: vec![Detail::default(), detail] }.encode_to_vec();
        for engine in [base64::engine::general_purpose::STANDARD, base64::engine::general_purpose::STANDARD_NO_PAD] {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", http::HeaderValue::from_static("8"));
            let text = engine.encode(&details);
            headers.insert("grpc-status-details-bin", http::HeaderValue::from_str(&text).expect("is a value"));
            match of(&headers) {
                Err(Error::Status { code: 8, pause, .. }) => assert_eq!(pause, Some(Duration::from_millis(2500))),
                other => panic!("{other:?}"),
            }
        }
    }
}
