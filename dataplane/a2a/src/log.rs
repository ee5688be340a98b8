//! Fields of one call for what records it.

use agentgateway_telemetry::RequestTelemetry;

use crate::call::Call;
use crate::limits::LOGGED_BYTES;
use crate::observe::Learnt;

/// What is known of a call before it is answered.
pub(crate) fn call(telemetry: &RequestTelemetry, call: &Call) {
    if !telemetry.is_on() {
        return;
    }
    let input = call.input();
    telemetry.set("a2a.method", shortened(input.method));
    telemetry.set("a2a.version", input.version.to_owned());
    for (field, value) in [("a2a.skill", input.skill), ("a2a.task", input.task), ("a2a.context", input.context)] {
        if let Some(value) = value {
            telemetry.set(field, shortened(value));
        }
    }
}

/// What its answer told.
pub(crate) fn learnt(telemetry: &RequestTelemetry, learnt: &Learnt) {
    if !telemetry.is_on() {
        return;
    }
    if let Some(state) = learnt.state {
        telemetry.set("a2a.state", state.as_str());
    }
    if let Some(task) = &learnt.task {
        telemetry.set("a2a.task", shortened(task));
    }
    if learnt.is_error {
        telemetry.set("a2a.error", "agent");
    }
}

/// Why the gateway answered in the agent's stead.
pub(crate) fn error(telemetry: &RequestTelemetry, reason: &'static str) {
    telemetry.set("a2a.error", reason);
}

fn shortened(value: &str) -> String {
    value.get(..value.floor_char_boundary(LOGGED_BYTES)).unwrap_or_default().to_owned()
}
