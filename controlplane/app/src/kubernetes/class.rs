//! The GatewayClass that users refer to.

use std::time::Duration;

use gateway_api::apis::experimental::gatewayclasses::{GatewayClass, GatewayClassSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use super::definitions::{Definitions, Known};

/// Its name.
pub(crate) const CLASS: &str = "agentgateway";

/// Pause before another try.
const RETRY: Duration = Duration::from_secs(5);

/// Makes the GatewayClass when there is none of its name, as soon as the cluster has that kind; one that a user changed stays
/// as it is.
pub(crate) async fn ensure(client: Client, mut definitions: Definitions) {
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
    loop {
        // Where definitions may not be read, it has to be tried.
        let worth_a_try = |known: &Known| match known {
            Known::Unlisted => false,
            Known::Unreadable => true,
            Known::Listed(_) => known.has("gatewayclasses.gateway.networking.k8s.io") == Some(true),
        };
        if definitions.wait_for(worth_a_try).await.is_err() {
            return;
        }
        match api.create(&PostParams::default(), &class).await {
            Ok(_) => {
                tracing::info!(class = CLASS, "GatewayClass created");
                return;
            }
            Err(kube::Error::Api(status)) if status.code == 409 => return,
            Err(error) => tracing::warn!(class = CLASS, %error, "cannot create the GatewayClass; trying again"),
        }
        tokio::time::sleep(RETRY).await;
    }
}
