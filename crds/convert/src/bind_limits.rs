//! Limits of a port.

use agentgateway_proto::v1;
use agentgateway_types::policy::BindLimits;
use agentgateway_types::{Duration, Path};

use crate::error::Error;

const LEAST_LAG_MILLISECONDS: u64 = 5;

/// Limits of a port.
pub fn bind_limits(limits: &BindLimits) -> Result<v1::BindLimits, Error> {
    let BindLimits { max_connections, max_connections_per_client, max_requests, max_lag } = *limits;
    for (field, value) in [
        ("maxConnections", max_connections),
        ("maxConnectionsPerClient", max_connections_per_client),
        ("maxRequests", max_requests),
    ] {
        if value == Some(0) {
            return Err(Error::invalid(Path::of(field), "must be more than 0"));
        }
    }
    // Timers of the system are no finer.
    if max_lag.is_some_and(|lag| lag.milliseconds() < LEAST_LAG_MILLISECONDS) {
        return Err(Error::invalid(Path::of("maxLag"), "must not be less than 5ms"));
    }
    Ok(v1::BindLimits {
        max_connections: max_connections.unwrap_or(0),
        max_connections_per_client: max_connections_per_client.unwrap_or(0),
        max_requests: max_requests.unwrap_or(0),
        max_lag_milliseconds: max_lag.map_or(0, Duration::milliseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_can_mean_is_refused() {
        let lag = |text: &str| BindLimits { max_lag: Some(text.parse().expect("a duration")), ..Default::default() };
        assert!(bind_limits(&lag("5ms")).is_ok());
        assert_eq!(bind_limits(&lag("4ms")).expect_err("short").path().to_string(), "maxLag");
        let none = BindLimits { max_connections_per_client: Some(0), ..Default::default() };
        assert_eq!(bind_limits(&none).expect_err("0").path().to_string(), "maxConnectionsPerClient");
    }
}
