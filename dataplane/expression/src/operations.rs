//! Names of A2A's operations: rules know them by those of A2A 1.0, and 0.3 has others.

/// The method of A2A 0.3 over JSON-RPC, and the operation.
const OLDER: [(&str, &str); 10] = [
    ("message/send", "SendMessage"),
    ("message/stream", "SendStreamingMessage"),
    ("tasks/get", "GetTask"),
    ("tasks/cancel", "CancelTask"),
    ("tasks/resubscribe", "SubscribeToTask"),
    ("tasks/pushNotificationConfig/set", "CreateTaskPushNotificationConfig"),
    ("tasks/pushNotificationConfig/get", "GetTaskPushNotificationConfig"),
    ("tasks/pushNotificationConfig/list", "ListTaskPushNotificationConfigs"),
    ("tasks/pushNotificationConfig/delete", "DeleteTaskPushNotificationConfig"),
    ("agent/getAuthenticatedExtendedCard", "GetExtendedAgentCard"),
];

/// The operation that A2A 0.3 calls `method`; None for any other name.
pub fn operation_of_a2a_0_3(method: &str) -> Option<&'static str> {
    OLDER.iter().find(|(older, _)| *older == method).map(|(_, operation)| *operation)
}
