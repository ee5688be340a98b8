//! Prints what a control plane sends to the proxies of a gateway, as it comes:
//!
//!     cargo run -p agentgateway-xds-client --example watch -- http://127.0.0.1:9978 .agentgateway/xds-token infra/gw [CA]

use agentgateway_proto::capabilities::Capabilities;
use agentgateway_xds_client::ClientConfig;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, token, gateway, ca @ ..] = arguments.as_slice() else {
        return Err("usage: watch ADDRESS TOKEN_FILE NAMESPACE/GATEWAY [CA_FILE]".into());
    };
    let mut client = agentgateway_xds_client::start(ClientConfig {
        address: address.parse()?,
        root_ca: ca.first().map(Into::into),
        token: token.into(),
        gateway: gateway.clone(),
        proxy: format!("watch-{}", std::process::id()),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        snapshot: None,
        capabilities: Capabilities::own(),
    });
    while let Some(update) = client.updates.recv().await {
        println!("generation {}", update.generation);
        for resource in &update.changed {
            println!("  + {} {}", resource.kind().message(), resource.key());
        }
        for (kind, key) in &update.removed {
            println!("  - {} {key}", kind.message());
        }
        update.answer(Vec::new());
    }
    Ok(())
}
