//! GatewayExtensions: what policies can use, and their status.

use agentgateway_crds::{ExtAuthProvider, ExtensionStatus, ExtensionType, GatewayExtension};

use crate::conditions::{Moment, Verdict, merge};

/// What an extension is for `extAuth`, or why it is nothing.
pub(crate) fn provider(extension: &GatewayExtension) -> Result<&ExtAuthProvider, String> {
    let kind = match extension.spec.extension_type {
        ExtensionType::ExtAuth => {
            return extension.spec.ext_auth.as_ref().ok_or_else(|| "spec.extAuth: must be set".to_owned());
        }
        ExtensionType::ExtProc => "ExtProc",
        ExtensionType::RateLimit => "RateLimit",
    };
    Err(format!("spec.type: {kind} is not supported, only ExtAuth is"))
}

/// Whether policies can use it. What its service is, each policy that uses it tells, since that depends on grants.
pub(crate) fn status(
    held: &ExtensionStatus,
    extension: Option<&GatewayExtension>,
    unreadable: Option<&str>,
    given: Option<&ExtensionStatus>,
    at: Moment<'_>,
) -> ExtensionStatus {
    let accepted = match (unreadable, extension.map(provider)) {
        (Some(reason), _) => {
            let message = format!("the object does not fit the types of this release and is not used: {reason}");
            Verdict::no("Accepted", "Invalid", message)
        }
        (None, Some(Err(reason))) => Verdict::no("Accepted", "Invalid", reason),
        (None, Some(Ok(_)) | None) => Verdict::yes("Accepted", "Accepted", "policies can use it"),
    };
    let given = given.map(|given| given.conditions.clone()).unwrap_or_default();
    ExtensionStatus { conditions: merge(&held.conditions, &given, &[accepted], &["Accepted"], at) }
}
