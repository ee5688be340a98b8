//! What the gateway says itself, read by the types of the official Rust SDK.

use rmcp::model::{
    CallToolResult, ErrorData, InitializeResult, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
    ListToolsResult, ReadResourceResult,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::client::{Gateway, To, run};
use super::server::Server;

fn read<T: DeserializeOwned>(value: &Value) -> T {
    T::deserialize(value).unwrap_or_else(|e| panic!("{e}: {value}"))
}

#[test]
fn messages_of_a_federation_are_valid() {
    run(async {
        let (a, b) = (Server::start(&["x"]).await, Server::start(&["y"]).await);
        let gateway = Gateway::new(&[To::server("a", &a), To::server("b", &b)]);
        let mut client = gateway.client();
        let hello: InitializeResult = read(&client.initialize("2025-11-25").await["result"]);
        assert!(hello.capabilities.tools.is_some_and(|t| t.list_changed == Some(true)));
        let tools: ListToolsResult = read(&client.request("tools/list", json!({})).await["result"]);
        assert_eq!(tools.tools[1].name, "b_y");
        let list: ListPromptsResult = read(&client.request("prompts/list", json!({})).await["result"]);
        assert_eq!(list.prompts[0].name, "a_p");
        let list: ListResourcesResult = read(&client.request("resources/list", json!({})).await["result"]);
        assert_eq!(list.resources.len(), 2);
        let list: ListResourceTemplatesResult =
            read(&client.request("resources/templates/list", json!({})).await["result"]);
        assert_eq!(list.resource_templates.len(), 2);
        let _: CallToolResult = read(&client.call("a_x").await["result"]);
        let _: ReadResourceResult =
            read(&client.request("resources/read", json!({"uri": "a+test://r"})).await["result"]);
        let error: ErrorData = read(&client.call("nobody").await["error"]);
        assert_eq!(error.code.0, -32602);
    });
}
