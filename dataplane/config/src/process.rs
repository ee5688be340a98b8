//! Checks of the settings of the process.

use std::net::{IpAddr, SocketAddr};

use agentgateway_convert::reserved::OWN_PORTS;
use agentgateway_types::Path;
use agentgateway_types::file::ProcessConfig;

use crate::diagnostic::Report;

/// Reports addresses that are none.
pub(crate) fn check(config: &ProcessConfig, report: &mut Report<'_>) {
    for (field, address) in addresses(config) {
        if let Some(address) = address
            && address.parse::<SocketAddr>().is_err()
        {
            let message = format!("{address:?} is not an address and a port such as 127.0.0.1:15000");
            report.error(&Path::of("config").key(field), message);
        }
    }
    if config.workers == Some(0) {
        report.error(&Path::of("config.workers"), "must be at least 1");
    }
}

/// Ports of the proxy itself: the usual ones and those that the file gives it.
pub(crate) fn own_ports(config: &ProcessConfig) -> Vec<u16> {
    let configured = addresses(config).into_iter().filter_map(|(_, a)| a.as_ref()?.parse::<SocketAddr>().ok());
    OWN_PORTS.into_iter().chain(configured.map(|a| a.port())).collect()
}

fn addresses(config: &ProcessConfig) -> [(&'static str, &Option<String>); 3] {
    [
        ("adminAddr", &config.admin_addr),
        ("metricsAddr", &config.metrics_addr),
        ("readinessAddr", &config.readiness_addr),
    ]
}

/// The address of a bind, all addresses by default.
pub(crate) fn bind_address(address: Option<&str>) -> Result<String, String> {
    match address {
        None => Ok("0.0.0.0".to_owned()),
        Some(text) => {
            text.parse::<IpAddr>().map(|a| a.to_string()).map_err(|_| format!("{text:?} is not an IP address"))
        }
    }
}
