//! The status of a GatewayClass.

use gateway_api::apis::experimental::gatewayclasses::{
    GatewayClass, GatewayClassStatus, GatewayClassStatusSupportedFeatures,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::Installed;
use crate::conditions::{Moment, Verdict, merge};
use crate::features::SUPPORTED_FEATURES;

const OURS: [&str; 2] = ["Accepted", "SupportedVersion"];

/// The status of a GatewayClass of ours; `invalid` says what is wrong with its parameters, `installed` which definitions of
/// Gateway API there are, if there are any.
pub(crate) fn status(
    class: &GatewayClass,
    invalid: Option<String>,
    installed: Option<&Installed>,
    given: Option<&GatewayClassStatus>,
    now: &Time,
) -> GatewayClassStatus {
    let accepted = match invalid {
        Some(message) => Verdict::no("Accepted", "InvalidParameters", message),
        None => Verdict::yes("Accepted", "Accepted", "Gateways of this class are served"),
    };
    let no_definitions = || {
        Verdict::yes(
            "SupportedVersion",
            "SupportedVersion",
            "there are no definitions, objects are read by this release's own",
        )
    };
    let version = installed.map_or_else(no_definitions, Installed::verdict);
    let conditions = |status: &GatewayClassStatus| status.conditions.clone().unwrap_or_default();
    let at = Moment { now, generation: class.metadata.generation };
    let held = class.status.as_ref().map(conditions).unwrap_or_default();
    let merged = merge(&held, &given.map(conditions).unwrap_or_default(), &[accepted, version], &OURS, at);
    let usable = SUPPORTED_FEATURES.iter().filter(|feature| installed.is_none_or(|i| i.allows(feature)));
    let features = usable.map(|feature| GatewayClassStatusSupportedFeatures { name: (*feature).to_owned() });
    GatewayClassStatus { conditions: Some(merged), supported_features: Some(features.collect()) }
}
