//! The operations of A2A, under one name for both versions.

use agentgateway_expression::operation_of_a2a_0_3;

macro_rules! operations {
    ($($name:ident),*) => {
        /// What a client wants of an agent.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Operation {
            /// Reads the public card.
            GetAgentCard,
            $($name,)*
            /// A method of an extension.
            Other,
        }

        impl Operation {
            pub(crate) const ALL: &[Operation] =
                &[Operation::GetAgentCard, $(Operation::$name,)* Operation::Other];
            pub(crate) const COUNT: usize = Operation::ALL.len();

            /// The name in A2A 1.0, and for rules, metrics and logs.
            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    Operation::GetAgentCard => "GetAgentCard",
                    $(Operation::$name => stringify!($name),)*
                    Operation::Other => "other",
                }
            }

            fn named(name: &str) -> Option<Operation> {
                $(if name == stringify!($name) {
                    return Some(Operation::$name);
                })*
                None
            }
        }
    };
}

operations!(
    SendMessage,
    SendStreamingMessage,
    GetTask,
    ListTasks,
    CancelTask,
    SubscribeToTask,
    CreateTaskPushNotificationConfig,
    GetTaskPushNotificationConfig,
    ListTaskPushNotificationConfigs,
    DeleteTaskPushNotificationConfig,
    GetExtendedAgentCard
);

impl Operation {
    /// Of a method over JSON-RPC, and whether it is written as A2A 0.3 has it.
    pub(crate) fn of_method(method: &str) -> (Operation, bool) {
        let older = operation_of_a2a_0_3(method);
        (Operation::named(older.unwrap_or(method)).unwrap_or(Operation::Other), older.is_some())
    }

    /// Whether it changes nothing at the agent.
    pub(crate) fn is_read(self) -> bool {
        matches!(
            self,
            Operation::GetAgentCard
                | Operation::GetTask
                | Operation::ListTasks
                | Operation::SubscribeToTask
                | Operation::GetTaskPushNotificationConfig
                | Operation::ListTaskPushNotificationConfigs
                | Operation::GetExtendedAgentCard
        )
    }

    pub(crate) fn is_message(self) -> bool {
        matches!(self, Operation::SendMessage | Operation::SendStreamingMessage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_name_one_operation() {
        for (method, operation) in [
            ("message/send", Operation::SendMessage),
            ("SendMessage", Operation::SendMessage),
            ("tasks/resubscribe", Operation::SubscribeToTask),
            ("ListTasks", Operation::ListTasks),
            ("agent/getAuthenticatedExtendedCard", Operation::GetExtendedAgentCard),
            // The card is not asked for by a message.
            ("GetAgentCard", Operation::Other),
            ("sendmessage", Operation::Other),
        ] {
            assert_eq!(Operation::of_method(method).0, operation, "{method}");
        }
        assert!(Operation::ALL.iter().all(|o| agentgateway_expression::operation_of_a2a_0_3(o.as_str()).is_none()));
    }
}
