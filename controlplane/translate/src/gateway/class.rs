//! The status of a GatewayClass.

use gateway_api::apis::experimental::gatewayclasses::{
    GatewayClass, GatewayClassStatus, GatewayClassStatusSupportedFeatures,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::conditions::{Moment, Verdict, merge};
use crate::features::SUPPORTED_FEATURES;

/// The status of a GatewayClass of ours; `invalid` says what is wrong with its parameters.
pub(crate) fn status(
    class: &GatewayClass,
    invalid: Option<String>,
    given: Option<&GatewayClassStatus>,
    now: &Time,
) -> GatewayClassStatus {
    let verdict = match invalid {
        Some(message) => Verdict::no("Accepted", "InvalidParameters", message),
        None => Verdict::yes("Accepted", "Accepted", "Gateways of this class are served"),
    };
    let conditions = |status: &GatewayClassStatus| status.conditions.clone().unwrap_or_default();
    let at = Moment { now, generation: class.metadata.generation };
    let held = class.status.as_ref().map(conditions).unwrap_or_default();
    let merged = merge(&held, &given.map(conditions).unwrap_or_default(), &[verdict], &["Accepted"], at);
    let features = SUPPORTED_FEATURES.iter().map(|f| GatewayClassStatusSupportedFeatures { name: (*f).to_owned() });
    GatewayClassStatus { conditions: Some(merged), supported_features: Some(features.collect()) }
}
