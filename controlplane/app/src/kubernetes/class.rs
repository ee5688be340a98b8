//! The GatewayClass that users refer to.

use gateway_api::apis::experimental::gatewayclasses::{GatewayClass, GatewayClassSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

/// Its name.
pub(crate) const CLASS: &str = "agentgateway";

/// Makes the GatewayClass when there is none of its name; one that a user changed stays as it is.
pub(crate) async fn ensure(client: Client) {
    let api: Api<GatewayClass> = Api::all(client);
    let class = GatewayClass {
        metadata: ObjectMeta { name: Some(CLASS.to_owned()), ..Default::default() },
        spec: GatewayClassSpec {
            controller_name: agentgateway_controlplane_translate::CONTROLLER_NAME.to_owned(),
            description: Some("Gateways for AI agents: HTTP services and MCP servers".to_owned()),
            parameters_ref: None,
        },
        status: None,
    };
    match api.create(&PostParams::default(), &class).await {
        Ok(_) => tracing::info!(class = CLASS, "GatewayClass created"),
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => tracing::error!(class = CLASS, %error, "cannot create the GatewayClass"),
    }
}
