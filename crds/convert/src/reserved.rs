//! Addresses and ports that a backend may not have, because they would publish what is not meant for clients.

use std::net::{IpAddr, Ipv6Addr};

/// Ports of the proxy itself: admin, metrics and readiness. They are never a backend, on any host, because that would
/// publish the admin interface; and never a listener.
pub const OWN_PORTS: [u16; 3] = [15000, 15020, 15021];

/// Which addresses backends may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// 127.0.0.0/8, ::1 and `localhost`: the machine or the pod of the proxy itself.
    pub loopback: bool,
    /// 169.254.0.0/16 and fe80::/10, where clouds serve their credentials.
    pub link_local: bool,
}

/// Why a backend may not be at `host` and `port`, if it may not. Names other than `localhost` are not resolved here; the
/// proxy checks what they resolve to when it connects, by [`refuse_address`].
pub fn refuse(host: &str, port: u16, allowed: Allowed) -> Option<String> {
    if OWN_PORTS.contains(&port) {
        return Some(format!("port {port} is the proxy's own; a backend on it would publish the proxy's internals"));
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if !allowed.loopback && (name == "localhost" || name.ends_with(".localhost")) {
        return Some(format!("{host} is a loopback name, which is not allowed here"));
    }
    name.parse().ok().and_then(|address| refuse_address(address, allowed))
}

/// Why a backend may not have this address, if it may not.
pub fn refuse_address(address: IpAddr, allowed: Allowed) -> Option<String> {
    // An IPv4 address written as IPv6 reaches the same host.
    let address = address.to_canonical();
    let unspecified = address.is_unspecified();
    if !allowed.loopback && (address.is_loopback() || unspecified) {
        return Some(format!("{address} is a loopback address, which is not allowed here"));
    }
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => link_local_v6(v6),
    };
    if link_local && !allowed.link_local {
        return Some(format!("{address} is a link-local address, which is not allowed here"));
    }
    None
}

fn link_local_v6(address: Ipv6Addr) -> bool {
    // fd00:ec2::254 is the metadata service of a cloud, on an address of its own.
    address.is_unicast_link_local() || address == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_ports_are_refused_on_every_host() {
        let all = Allowed { loopback: true, link_local: true };
        for port in OWN_PORTS {
            assert!(refuse("example.com", port, all).is_some());
        }
        assert!(refuse("example.com", 15001, all).is_none());
    }

    #[test]
    fn loopback_and_link_local_are_refused_unless_allowed() {
        let loopback =
            ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "0.0.0.0"];
        let link_local = ["169.254.169.254", "fe80::1", "::ffff:169.254.1.1", "fd00:ec2::254"];
        for host in loopback {
            assert!(refuse(host, 80, Allowed::default()).is_some(), "{host}");
            assert!(refuse(host, 80, Allowed { loopback: true, link_local: false }).is_none(), "{host}");
        }
        for host in link_local {
            assert!(refuse(host, 80, Allowed::default()).is_some(), "{host}");
            assert!(refuse(host, 80, Allowed { loopback: false, link_local: true }).is_none(), "{host}");
        }
        assert!(refuse("10.0.0.1", 80, Allowed::default()).is_none());
    }
}
