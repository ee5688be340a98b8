//! External processing.

use agentgateway_proto::v1::{self, external_processing, policy_spec::Kind};
use agentgateway_types::policy::{BodySendMode, ExtProc, MutationRules, ProcessingMode, SendMode};
use agentgateway_types::{Duration, Path};

use super::spec;
use crate::check;
use crate::error::{Error, Within};

const MOST_TIMEOUT_MILLISECONDS: u64 = 3_600_000;
const MOST_BODY_BYTES: u64 = 64 << 20;

/// Another service reads and changes messages; `backend` gives the key of the backend of its host.
pub fn ext_proc(
    policy: &ExtProc,
    backend: &mut dyn FnMut(v1::HostBackend) -> Result<String, Error>,
) -> Result<v1::PolicySpec, Error> {
    let hosts = vec![crate::backend::host_port(&policy.host).within(|| Path::of("host"))?];
    let version = v1::HttpVersion::H2c.into();
    let backend_key = backend(v1::HostBackend { hosts, version }).within(|| Path::of("host"))?;
    let processing = processing(policy)?;
    Ok(spec(Kind::ExternalProcessing(v1::ExternalProcessing { backend_key, ..processing })))
}

/// All that is said about messages; where the service is, is left out.
pub fn processing(policy: &ExtProc) -> Result<v1::ExternalProcessing, Error> {
    let mode = mode(&policy.processing_mode.unwrap_or_default());
    let observes = policy.observability_mode.unwrap_or(false);
    if observes {
        for (field, body) in [("requestBodyMode", mode.request_body()), ("responseBodyMode", mode.response_body())] {
            if !matches!(body, external_processing::Body::None | external_processing::Body::Streamed) {
                let reason = "must be NONE or STREAMED in observabilityMode: nobody waits for a body there";
                return Err(Error::invalid(Path::of("processingMode").key(field), reason));
            }
        }
        if policy.allow_mode_override.unwrap_or(false) {
            return Err(Error::invalid(Path::of("allowModeOverride"), "must not be set with observabilityMode"));
        }
    }
    let time = |field: &'static str, value: Option<Duration>| match value.map(Duration::milliseconds) {
        Some(milliseconds) if !(1..=MOST_TIMEOUT_MILLISECONDS).contains(&milliseconds) => {
            Err(Error::invalid(Path::of(field), "must be more than 0, and not more than 1h"))
        }
        milliseconds => Ok(milliseconds),
    };
    let message_timeout_milliseconds = time("messageTimeout", policy.message_timeout)?;
    let max_message_timeout_milliseconds = time("maxMessageTimeout", policy.max_message_timeout)?.unwrap_or(0);
    let max_body_bytes = match policy.max_body_size.map(|size| size.bytes()) {
        Some(bytes) if !(1..=MOST_BODY_BYTES).contains(&bytes) => {
            return Err(Error::invalid(Path::of("maxBodySize"), "must be more than 0, and not more than 64Mi"));
        }
        bytes => bytes.unwrap_or(0),
    };
    let forwarding = policy.metadata_options.as_ref().and_then(|options| options.forwarding.as_ref());
    Ok(v1::ExternalProcessing {
        mode: Some(mode),
        message_timeout_milliseconds,
        max_message_timeout_milliseconds,
        fail_open: policy.fail_open.unwrap_or(false),
        allow_mode_override: policy.allow_mode_override.unwrap_or(false),
        observability: observes,
        request_attributes: policy.request_attributes.clone(),
        response_attributes: policy.response_attributes.clone(),
        mutation_rules: policy.mutation_rules.as_ref().map(rules).transpose()?,
        forwarded_metadata: forwarding.map(|forwarding| forwarding.untyped.clone()).unwrap_or_default(),
        max_body_bytes,
        ..v1::ExternalProcessing::default()
    })
}

fn mode(mode: &ProcessingMode) -> external_processing::Mode {
    let skips = |mode: Option<SendMode>| mode == Some(SendMode::Skip);
    let sends = |mode: Option<SendMode>| mode == Some(SendMode::Send);
    let body = |mode: Option<BodySendMode>| match mode.unwrap_or_default() {
        BodySendMode::None => external_processing::Body::None,
        BodySendMode::Streamed => external_processing::Body::Streamed,
        BodySendMode::Buffered => external_processing::Body::Buffered,
        BodySendMode::BufferedPartial => external_processing::Body::BufferedPartial,
        BodySendMode::FullDuplexStreamed => external_processing::Body::FullDuplexStreamed,
    };
    external_processing::Mode {
        skip_request_headers: skips(mode.request_header_mode),
        skip_response_headers: skips(mode.response_header_mode),
        request_body: body(mode.request_body_mode).into(),
        response_body: body(mode.response_body_mode).into(),
        send_request_trailers: sends(mode.request_trailer_mode),
        send_response_trailers: sends(mode.response_trailer_mode),
    }
}

fn rules(rules: &MutationRules) -> Result<external_processing::MutationRules, Error> {
    let names = |field: &'static str, names: &[String]| {
        let at = Path::of("mutationRules").key(field);
        let checked = |(i, name): (usize, &String)| check::header_name(at.clone().index(i), name);
        names.iter().enumerate().map(checked).collect::<Result<Vec<_>, Error>>()
    };
    Ok(external_processing::MutationRules {
        allow_routing: rules.allow_routing.unwrap_or(false),
        allow: names("allow", &rules.allow)?,
        deny: names("deny", &rules.deny)?,
        denied_is_error: rules.denied_is_error.unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(policy: &ExtProc) -> Result<v1::ExternalProcessing, Error> {
        let converted = ext_proc(policy, &mut |host| Ok(format!("version {}", host.version)))?;
        let Some(Kind::ExternalProcessing(converted)) = converted.kind else { panic!("no processing") };
        Ok(converted)
    }

    fn policy() -> ExtProc {
        ExtProc { host: "processor:9000".into(), ..ExtProc::default() }
    }

    #[test]
    fn headers_alone_are_sent_by_default_and_failures_refuse() {
        let converted = convert(&policy()).expect("converts");
        assert_eq!(converted.backend_key, format!("version {}", i32::from(v1::HttpVersion::H2c)));
        assert_eq!(converted.mode, Some(external_processing::Mode::default()));
        assert!(!converted.fail_open);
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let mode = ProcessingMode { response_body_mode: Some(BodySendMode::Buffered), ..ProcessingMode::default() };
        let rules = MutationRules { deny: vec!["x-a".into(), "a b".into()], ..MutationRules::default() };
        let observing = ExtProc { observability_mode: Some(true), ..policy() };
        let cases = [
            (ExtProc { processing_mode: Some(mode), ..observing.clone() }, "processingMode.responseBodyMode"),
            (ExtProc { allow_mode_override: Some(true), ..observing }, "allowModeOverride"),
            (ExtProc { mutation_rules: Some(rules), ..policy() }, "mutationRules.deny[1]"),
            (ExtProc { message_timeout: Some(Duration::from_milliseconds(0)), ..policy() }, "messageTimeout"),
            (ExtProc { host: "processor".into(), ..policy() }, "host"),
        ];
        for (policy, field) in cases {
            assert_eq!(convert(&policy).expect_err(field).path().to_string(), field);
        }
    }
}
