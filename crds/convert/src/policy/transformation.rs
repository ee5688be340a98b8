//! Changes by expressions, and bodies that are read whole.

use agentgateway_proto::v1::{self, policy_spec::Kind, transformation::Message};
use agentgateway_types::Path;
use agentgateway_types::policy::{BodyFormat, Buffer, HeaderTransformation, MessageTransformation, Transformation};

use super::spec;
use crate::check;
use crate::error::{Error, Within};

const MOST_BUFFERED_BYTES: u64 = 1 << 30;
const MOST_METADATA_NAME: usize = 256;
/// The gateway frames messages itself, and a host is written as `:authority`.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Bodies of requests that are read whole.
pub fn buffer(policy: &Buffer) -> Result<v1::PolicySpec, Error> {
    let max_bytes = policy.max_request_size.bytes();
    if !(1..=MOST_BUFFERED_BYTES).contains(&max_bytes) {
        return Err(Error::invalid(Path::of("maxRequestSize"), "must be from 1 to 1Gi"));
    }
    Ok(spec(Kind::RequestBuffer(v1::RequestBuffer { max_bytes })))
}

/// Changes to requests and responses. Expressions are not compiled here.
pub fn transformation(policy: &Transformation) -> Result<v1::PolicySpec, Error> {
    let of = |field: &'static str, part: &Option<MessageTransformation>, pseudo: &[&str]| {
        part.as_ref().map(|part| message(part, pseudo).within(|| Path::of(field))).transpose()
    };
    let request = of("request", &policy.request, &[":path", ":method", ":authority"])?;
    let response = of("response", &policy.response, &[":status"])?;
    if request.is_none() && response.is_none() {
        return Err(Error::Missing { path: Path::of("request") });
    }
    Ok(spec(Kind::Transformation(v1::Transformation { request, response })))
}

fn message(part: &MessageTransformation, pseudo: &[&str]) -> Result<Message, Error> {
    let body = part.body.as_ref();
    let removed = part.remove.iter().enumerate();
    Ok(Message {
        set: headers("set", &part.set, pseudo)?,
        add: headers("add", &part.add, &[])?,
        remove: removed.map(|(i, n)| name(Path::of("remove").index(i), n)).collect::<Result<_, _>>()?,
        body: body.and_then(|body| body.value.clone()).unwrap_or_default(),
        body_is_json: body.and_then(|body| body.parse_as) == Some(BodyFormat::AsJson),
        metadata: part.metadata.iter().map(metadata).collect::<Result<_, _>>()?,
    })
}

fn metadata((name, value): (&String, &String)) -> Result<v1::Header, Error> {
    if name.is_empty() || name.len() > MOST_METADATA_NAME {
        let reason = format!("a name has from 1 to {MOST_METADATA_NAME} bytes");
        return Err(Error::invalid(Path::of("metadata").key(name), reason));
    }
    Ok(v1::Header { name: name.clone(), value: value.clone() })
}

fn headers(field: &'static str, all: &[HeaderTransformation], pseudo: &[&str]) -> Result<Vec<v1::Header>, Error> {
    let one = |(i, header): (usize, &HeaderTransformation)| {
        let at = Path::of(field).index(i).key("name");
        let name = match header.name.to_ascii_lowercase() {
            own if pseudo.contains(&own.as_str()) => own,
            _ => name(at, &header.name)?,
        };
        Ok(v1::Header { name, value: header.value.clone() })
    };
    all.iter().enumerate().map(one).collect()
}

fn name(at: Path, name: &str) -> Result<String, Error> {
    if FRAMING.iter().any(|framing| name.eq_ignore_ascii_case(framing)) {
        return Err(Error::invalid(at, format!("{name} frames the message, which the gateway does itself")));
    }
    check::header_name(at, name)
}

#[cfg(test)]
mod tests {
    use agentgateway_types::Size;

    use super::*;

    #[test]
    fn a_message_has_its_own_pseudo_headers_and_frames_nothing() {
        let of = |name: &str, in_set: bool, of_request: bool| {
            let header = HeaderTransformation { name: name.into(), value: "'x'".into() };
            let (set, add) = if in_set { (vec![header], vec![]) } else { (vec![], vec![header]) };
            let part = Some(MessageTransformation { set, add, ..MessageTransformation::default() });
            let (request, response) = if of_request { (part, None) } else { (None, part) };
            transformation(&Transformation { request, response }).map_err(|e| e.path().to_string())
        };
        assert!(of("X-A", true, true).is_ok() && of(":Path", true, true).is_ok() && of(":status", true, false).is_ok());
        assert_eq!(of(":status", true, true), Err("request.set[0].name".into()));
        assert_eq!(of(":path", true, false), Err("response.set[0].name".into()));
        assert_eq!(of(":path", false, true), Err("request.add[0].name".into()));
        assert_eq!(of("Host", true, true), Err("request.set[0].name".into()));
        assert_eq!(of("Content-Length", false, false), Err("response.add[0].name".into()));
        assert!(transformation(&Transformation::default()).is_err());
    }

    #[test]
    fn a_body_has_a_largest_size() {
        let of = |bytes| buffer(&Buffer { max_request_size: Size::from_bytes(bytes) });
        assert!(of(1).is_ok() && of(1 << 30).is_ok());
        assert!(of(0).is_err() && of((1 << 30) + 1).is_err());
    }
}
