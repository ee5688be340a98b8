//! headerModifiers, timeouts, retry and autoHostRewrite: what protects nothing.

use std::collections::BTreeSet;

use agentgateway_convert::policy as convert;
use agentgateway_crds::{RetryOn, TrafficPolicySpec, TrafficRetry};
use agentgateway_types::policy::{Retry, Timeout};

use super::{Fields, wrong};

pub(super) fn specs(spec: &TrafficPolicySpec, fields: &mut Fields<'_>) {
    if let Some(modifiers) = &spec.header_modifiers {
        if let Some(request) = &modifiers.request {
            let made = convert::request_headers(request).map_err(|e| wrong("spec.headerModifiers.request", e));
            fields.unprotected("headerModifiers.request", made);
        }
        if let Some(response) = &modifiers.response {
            let made = convert::response_headers(response).map_err(|e| wrong("spec.headerModifiers.response", e));
            fields.unprotected("headerModifiers.response", made);
        }
    }
    let per_try = spec.retry.as_ref().and_then(|retry| retry.per_try_timeout);
    if let Some(timeouts) = &spec.timeouts {
        let backend_request_timeout = per_try.or(timeouts.backend_request);
        let timeout = Timeout { request_timeout: timeouts.request, backend_request_timeout };
        fields.unprotected("timeouts", convert::timeout(&timeout).map_err(|e| wrong("spec.timeouts", e)));
    } else if per_try.is_some() {
        let timeout = Timeout { request_timeout: None, backend_request_timeout: per_try };
        fields.unprotected("timeouts", convert::timeout(&timeout).map_err(|e| wrong("spec.retry.perTryTimeout", e)));
    }
    if let Some(config) = &spec.retry {
        fields.unprotected("retry", convert::retry(&retry(config)).map_err(|e| wrong("spec.retry", e)));
    }
    if spec.auto_host_rewrite == Some(true) {
        fields.unprotected("autoHostRewrite", Ok(convert::auto_host_rewrite()));
    }
}

fn retry(config: &TrafficRetry) -> Retry {
    let mut codes: BTreeSet<u16> = config.status_codes.iter().copied().collect();
    for on in &config.retry_on {
        match on {
            RetryOn::ServerError => codes.extend(500..=599),
            RetryOn::GatewayError => codes.extend([502, 503, 504]),
            RetryOn::Conflict => codes.extend([409]),
            // The gateway tries these again without being told.
            RetryOn::StatusCodes
            | RetryOn::Reset
            | RetryOn::ResetBeforeRequest
            | RetryOn::ConnectFailure
            | RetryOn::RefusedStream => {}
        }
    }
    Retry { attempts: config.attempts, backoff: config.backoff_base_interval, codes: codes.into_iter().collect() }
}
