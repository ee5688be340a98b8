//! Signature Version 4 of AWS ("Create a signed AWS API request" in the IAM user guide), in the `Authorization` header.
//!
//! Signed are the method, path, query, `Host`, `Content-Type`, the `X-Amz-` headers and the body, or that it is left out.

use std::time::{SystemTime, UNIX_EPOCH};

use agentgateway_proto::v1::backend_authentication::Aws;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use ring::{digest, hmac};

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const CONTENT_HASH: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// A compiled policy.
pub struct Signer {
    region: String,
    service: String,
    access_key_id: String,
    /// "AWS4" and the secret access key.
    secret: Vec<u8>,
    session_token: Option<HeaderValue>,
    unsigned_payload: bool,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("region", &self.region).field("service", &self.service).finish_non_exhaustive()
    }
}

/// SHA-256 of a body, taken piece by piece so that no piece holds its thread for long.
pub struct PayloadHash(digest::Context);

impl Default for PayloadHash {
    fn default() -> Self {
        PayloadHash(digest::Context::new(&digest::SHA256))
    }
}

impl std::fmt::Debug for PayloadHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PayloadHash")
    }
}

impl PayloadHash {
    /// The next piece of the body.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }
}

impl Signer {
    pub(crate) fn compile(spec: &Aws) -> Result<Signer, String> {
        for (what, text) in [
            ("region", &spec.region),
            ("service", &spec.service),
            ("access key id", &spec.access_key_id),
            ("secret access key", &spec.secret_access_key),
        ] {
            if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(format!("its {what} is empty, or holds characters that none has"));
            }
        }
        let session_token = match spec.session_token.as_str() {
            "" => None,
            token => {
                let mut value =
                    HeaderValue::try_from(token).map_err(|_| "its session token is no header value".to_owned())?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Signer {
            region: spec.region.clone(),
            service: spec.service.clone(),
            access_key_id: spec.access_key_id.clone(),
            secret: format!("AWS4{}", spec.secret_access_key).into_bytes(),
            session_token,
            unsigned_payload: spec.unsigned_payload,
        })
    }

    /// Whether the body is signed, so that it must be read before the head is sent.
    pub fn needs_body(&self) -> bool {
        !self.unsigned_payload
    }

    /// Signs a request whose head is as it will be sent, with `Host`. `payload` is the whole body; None leaves it out.
    pub fn sign(&self, head: &mut Parts, payload: Option<&PayloadHash>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        self.sign_at(head, payload, now);
    }

    fn sign_at(&self, head: &mut Parts, payload: Option<&PayloadHash>, seconds: u64) {
        let time = timestamp(seconds);
        let payload = payload.map_or_else(|| UNSIGNED.to_owned(), |hash| hex(hash.0.clone().finish().as_ref()));
        let headers = &mut head.headers;
        // What a caller signed, or pretends to have.
        let foreign: Vec<HeaderName> = headers.keys().filter(|n| n.as_str().starts_with("x-amz-")).cloned().collect();
        let own = |name: &HeaderName| *name == DATE || *name == TOKEN || *name == CONTENT_HASH;
        foreign.iter().filter(|name| own(name)).for_each(|name| drop(headers.remove(name)));
        headers.remove(header::AUTHORIZATION);
        insert(headers, DATE, &time);
        insert(headers, CONTENT_HASH, &payload);
        if let Some(token) = &self.session_token {
            headers.insert(TOKEN, token.clone());
        }
        let (canonical, signed) = canonical_headers(headers);
        let request = format!(
            "{}\n{}\n{}\n{canonical}\n{signed}\n{payload}",
            head.method,
            self.canonical_path(head.uri.path()),
            canonical_query(head.uri.query().unwrap_or_default()),
        );
        let date = time.get(..8).unwrap_or_default();
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let hash = hex(digest::digest(&digest::SHA256, request.as_bytes()).as_ref());
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hash}");
        let key = [date, &self.region, &self.service, "aws4_request"]
            .iter()
            .fold(hmac::Key::new(hmac::HMAC_SHA256, &self.secret), |key, part| {
                hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref())
            });
        let signature = hex(hmac::sign(&key, to_sign.as_bytes()).as_ref());
        let id = &self.access_key_id;
        let value = format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed}, Signature={signature}");
        insert(&mut head.headers, header::AUTHORIZATION, &value);
    }

    /// Every service but S3 has the path normalised and encoded once more.
    fn canonical_path(&self, path: &str) -> String {
        if self.service == "s3" {
            return path.to_owned();
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split('/').skip(1) {
            match part {
                "." | "" => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let trailing = path.len() > 1 && (path.ends_with('/') || path.ends_with("/.") || path.ends_with("/.."));
        let mut out = String::from("/");
        encode(&parts.join("/"), b"/", &mut out);
        if trailing && !parts.is_empty() {
            out.push('/');
        }
        out
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Made of ASCII alone.
    if let Ok(mut value) = HeaderValue::from_str(value) {
        value.set_sensitive(name == header::AUTHORIZATION);
        headers.insert(name, value);
    }
}

/// The signed headers with their values, a line each, and their names.
fn canonical_headers(headers: &HeaderMap) -> (String, String) {
    let signed =
        |name: &HeaderName| name == header::HOST || name == header::CONTENT_TYPE || name.as_str().starts_with("x-amz-");
    let mut names: Vec<&HeaderName> = headers.keys().filter(|name| signed(name)).collect();
    names.sort_by_key(|name| name.as_str());
    let (mut lines, mut list) = (String::new(), String::new());
    for name in names {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let values: Vec<String> = values.map(|v| v.split_ascii_whitespace().collect::<Vec<_>>().join(" ")).collect();
        lines.push_str(&format!("{name}:{}\n", values.join(",")));
        if !list.is_empty() {
            list.push(';');
        }
        list.push_str(name.as_str());
    }
    (lines, list)
}

/// Parameters sorted by name and value, as they are written: a service decodes and encodes them again.
fn canonical_query(query: &str) -> String {
    let canonical = |text: &str| {
        let mut out = String::with_capacity(text.len());
        encode_once(text, &mut out);
        out
    };
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (canonical(name), canonical(value)))
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn encode(text: &str, also: &[u8], out: &mut String) {
    for byte in text.bytes() {
        if is_unreserved(byte) || also.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// Encodes what is not encoded yet; escapes get capital digits.
fn encode_once(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let escape = rest
            .strip_prefix('%')
            .and_then(|after| after.get(..2))
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let length = match escape {
            Some(digits) => {
                match u8::from_str_radix(digits, 16) {
                    Ok(byte) if is_unreserved(byte) => out.push(char::from(byte)),
                    _ => out.push_str(&format!("%{}", digits.to_ascii_uppercase())),
                }
                3
            }
            None => {
                encode(rest.get(..first.len_utf8()).unwrap_or_default(), b"", out);
                first.len_utf8()
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20150830T123600Z`; the calendar by Howard Hinnant's `civil_from_days`.
fn timestamp(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::request;

    fn signer(service: &str, unsigned_payload: bool) -> Signer {
        Signer::compile(&Aws {
            region: "us-east-1".into(),
            service: service.into(),
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session_token: String::new(),
            unsigned_payload,
        })
        .expect("compiles")
    }

    /// 2015-08-30 12:36:00, the time of AWS's own examples.
    const THEN: u64 = 1_440_938_160;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "19700101T000000Z"),
            (THEN, "20150830T123600Z"),
            (951_782_400, "20000229T000000Z"),
            (4_107_542_399, "21000228T235959Z"),
        ] {
            assert_eq!(timestamp(seconds), text);
        }
    }

    #[test]
    fn the_key_is_that_of_the_documentation() {
        // "Deriving the signing key" of the reference: 20150830, us-east-1, iam.
        let secret = hmac::Key::new(hmac::HMAC_SHA256, b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let key = ["20150830", "us-east-1", "iam"]
            .iter()
            .fold(secret, |key, part| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref()));
        let key = hmac::sign(&key, b"aws4_request");
        assert_eq!(hex(key.as_ref()), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }

    #[test]
    fn what_the_caller_signed_is_replaced() {
        let headers = [
            ("host", "a"),
            ("authorization", "AWS4-HMAC-SHA256 x"),
            ("x-amz-date", "19990101T000000Z"),
            ("x-amz-target", "T"),
        ];
        let mut head = request("POST", "/", &headers);
        signer("bedrock", false).sign_at(&mut head, Some(&PayloadHash::default()), THEN);
        assert_eq!(head.headers["x-amz-date"], "20150830T123600Z");
        let value = head.headers["authorization"].to_str().expect("text");
        assert!(
            value.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-target, Signature="),
            "{value}"
        );
        assert_eq!(head.headers.get_all("authorization").iter().count(), 1);
    }

    #[test]
    fn paths_and_queries_are_canonical() {
        let signer = signer("lambda", true);
        for (path, canonical) in [
            ("/", "/"),
            ("/a/./b/../c//d/", "/a/c/d/"),
            ("/a b", "/a%20b"),
            ("/model/a%3A0/invoke", "/model/a%253A0/invoke"),
        ] {
            assert_eq!(signer.canonical_path(path), canonical, "{path}");
        }
        assert_eq!(canonical_query("b=2&a=%7e%2f&a=1&c&d=x:y"), "a=1&a=~%2F&b=2&c=&d=x%3Ay");
    }
}
