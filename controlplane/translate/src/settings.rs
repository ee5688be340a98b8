//! What the translator must know besides objects.

use agentgateway_convert::reserved::Allowed;

use crate::CONTROLLER_NAME;

/// What the translator must know besides objects; fixed for its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// GatewayClasses with this controller name are ours.
    pub controller_name: String,
    /// Name of the cluster, in the endpoints; empty when there is no need to tell it from others.
    pub cluster: String,
    /// DNS domain of the cluster.
    pub cluster_domain: String,
    /// Address on which proxies listen.
    pub bind_address: String,
    /// Which addresses backends may have. Loopback is for proxies on the caller's own machine.
    pub allowed: Allowed,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            controller_name: CONTROLLER_NAME.to_owned(),
            cluster: String::new(),
            cluster_domain: "cluster.local".to_owned(),
            bind_address: "0.0.0.0".to_owned(),
            allowed: Allowed::default(),
        }
    }
}
