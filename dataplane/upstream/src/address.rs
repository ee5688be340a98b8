//! Which addresses a backend may have.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::error::{Error, Kind};

/// Which addresses a backend may have. Checked when dialling, after names are resolved, so no name can lead round it.
#[derive(Clone, Debug, Default)]
pub struct AddressRules {
    /// The gateway's own admin, metrics and readiness ports. Never reachable on this machine: a route to the admin
    /// port would publish it.
    pub own_ports: Vec<u16>,
    /// 127.0.0.0/8 and ::1.
    pub allow_loopback: bool,
    /// 169.254.0.0/16 (cloud metadata lives there) and fe80::/10.
    pub allow_link_local: bool,
}

impl AddressRules {
    /// Before connecting.
    ///
    /// # Errors
    /// Why it may not be reached.
    pub fn check(&self, address: SocketAddr) -> Result<(), Error> {
        let ip = address.ip().to_canonical();
        let refused =
            |why: &str| Err(Error::new(Kind::AddressRefused, format!("backend address {address} is refused: {why}")));
        let local = ip.is_loopback() || ip.is_unspecified();
        if local && self.own_ports.contains(&address.port()) {
            return refused("it is a port of the gateway itself");
        }
        if local && !self.allow_loopback {
            return refused("loopback addresses are not allowed as backends here");
        }
        if is_link_local(ip) && !self.allow_link_local {
            return refused("link-local addresses are not allowed as backends");
        }
        Ok(())
    }

    /// After connecting: a connection from an address to itself stays on this machine, whatever the address.
    ///
    /// # Errors
    /// Why it may not be reached.
    pub fn check_connected(&self, local: SocketAddr, peer: SocketAddr) -> Result<(), Error> {
        if self.own_ports.contains(&peer.port()) && local.ip().to_canonical() == peer.ip().to_canonical() {
            return Err(Error::new(
                Kind::AddressRefused,
                format!("backend address {peer} is refused: it is a port of the gateway itself"),
            ));
        }
        Ok(())
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        // fd00:ec2::254 is the metadata service of a cloud, on an address of its own.
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6 == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_ports_are_refused_even_where_loopback_is_allowed() {
        let rules = AddressRules { own_ports: vec![15000], allow_loopback: true, allow_link_local: false };
        for refused in [
            "127.0.0.1:15000",
            "[::1]:15000",
            "[::ffff:127.0.0.1]:15000",
            "0.0.0.0:15000",
            "169.254.169.254:80",
            "[fd00:ec2::254]:80",
        ] {
            assert!(rules.check(refused.parse().expect("address")).is_err(), "{refused}");
        }
        for allowed in ["127.0.0.1:8080", "10.0.0.1:15000", "[2001:db8::1]:80"] {
            assert!(rules.check(allowed.parse().expect("address")).is_ok(), "{allowed}");
        }
        let own = "10.0.0.1:15000".parse().expect("address");
        assert!(rules.check_connected("10.0.0.1:40000".parse().expect("address"), own).is_err());
        assert!(rules.check_connected("10.0.0.2:40000".parse().expect("address"), own).is_ok());
    }

    #[test]
    fn loopback_needs_permission() {
        let rules = AddressRules::default();
        for refused in ["127.0.0.1:80", "[::ffff:127.0.0.2]:80", "0.0.0.0:80", "[::]:80"] {
            assert!(rules.check(refused.parse().expect("address")).is_err(), "{refused}");
        }
    }
}
