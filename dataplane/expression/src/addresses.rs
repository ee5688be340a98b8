//! IP addresses and networks as values, with the functions of Kubernetes' CEL library: `ip`, `isIP`, `cidr`, `isCIDR`, `containsIP`.
//!
//! IPv4 addresses written as IPv6 (`::ffff:10.0.0.1`) are the IPv4 addresses that they mean, so that no rule can be passed by
//! another way of writing.

use std::any::Any;
use std::net::IpAddr;

use cel::ExecutionError;
use cel::common::types::{CelBool, CelString, Type};
use cel::common::value::{CowVal, StaticVal, Val};

static ADDRESS_TYPE: Type = Type::new_unspecified_type("net.IP");
static NETWORK_TYPE: Type = Type::new_unspecified_type("net.CIDR");

/// An address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address(IpAddr);

/// A network: addresses that agree in their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u8,
}

macro_rules! value {
    ($type:ty, $cel:expr) => {
        impl Val for $type {
            fn get_type(&self) -> &Type {
                &$cel
            }

            fn cel_type() -> &'static Type {
                &$cel
            }

            fn equals(&self, other: &dyn Val) -> bool {
                other.downcast_ref::<$type>() == Some(self)
            }

            fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
                Box::new(*self)
            }

            fn as_any(&self) -> Option<&dyn Any> {
                Some(self)
            }
        }

        impl StaticVal for $type {}
    };
}

value!(Address, ADDRESS_TYPE);
value!(Network, NETWORK_TYPE);

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Address, String> {
        let parsed = text.parse::<IpAddr>().map_err(|_| format!("{text:?} is not an IP address"))?;
        Ok(Address(parsed.to_canonical()))
    }
}

impl Network {
    pub(crate) fn parse(text: &str) -> Result<Network, String> {
        let refuse = || format!("{text:?} is not a network such as 10.0.0.0/8");
        let (address, bits) = text.split_once('/').ok_or_else(refuse)?;
        let written: IpAddr = address.parse().map_err(|_| refuse())?;
        let all = if written.is_ipv4() { 32 } else { 128 };
        let digits = bits.bytes().all(|b| b.is_ascii_digit()) && !(bits.len() > 1 && bits.starts_with('0'));
        let bits = bits.parse::<u8>().ok().filter(|bits| digits && *bits <= all).ok_or_else(refuse)?;
        match written.to_canonical() {
            address @ IpAddr::V4(_) if written.is_ipv6() => match bits.checked_sub(96) {
                Some(bits) => Ok(Network { address, bits }),
                None => Err(refuse()),
            },
            address => Ok(Network { address, bits }),
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        let differing = match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(a.to_bits() ^ b.to_bits()) << 96,
            (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() ^ b.to_bits(),
            _ => return false,
        };
        self.bits == 0 || differing.leading_zeros() >= u32::from(self.bits)
    }
}

type Arguments<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Answer<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

fn text<'a>(function: &str, arguments: &'a Arguments<'_, '_>) -> Result<&'a str, ExecutionError> {
    let first = arguments.first().ok_or_else(|| ExecutionError::no_such_overload(function, Vec::new()))?;
    let text = first.downcast_ref::<CelString<'_>>().map(CelString::inner);
    text.ok_or_else(|| ExecutionError::no_such_overload(function, vec![first.get_type().name().to_owned()]))
}

fn failed(function: &str, reason: String) -> ExecutionError {
    ExecutionError::function_error(function, reason)
}

fn boolean<'b, 'v>(value: bool) -> CowVal<'b, 'v> {
    CowVal::owned(CelBool::from(value))
}

pub(crate) fn ip<'b, 'v>(arguments: Arguments<'b, 'v>) -> Answer<'b, 'v> {
    if let Some(address) = arguments.first().and_then(|first| first.downcast_ref::<Address>()) {
        return Ok(CowVal::owned(*address));
    }
    Address::parse(text("ip", &arguments)?).map(CowVal::owned).map_err(|e| failed("ip", e))
}

pub(crate) fn is_ip<'b, 'v>(arguments: Arguments<'b, 'v>) -> Answer<'b, 'v> {
    Ok(boolean(Address::parse(text("isIP", &arguments)?).is_ok()))
}

pub(crate) fn cidr<'b, 'v>(arguments: Arguments<'b, 'v>) -> Answer<'b, 'v> {
    Network::parse(text("cidr", &arguments)?).map(CowVal::owned).map_err(|e| failed("cidr", e))
}

pub(crate) fn is_cidr<'b, 'v>(arguments: Arguments<'b, 'v>) -> Answer<'b, 'v> {
    Ok(boolean(Network::parse(text("isCIDR", &arguments)?).is_ok()))
}

/// Of a network and an address, or the text of one.
pub(crate) fn contains_ip<'b, 'v>(arguments: Arguments<'b, 'v>) -> Answer<'b, 'v> {
    let [network, address] = arguments.as_slice() else {
        return Err(ExecutionError::no_such_overload("containsIP", Vec::new()));
    };
    let other = |value: &CowVal<'_, '_>| {
        ExecutionError::no_such_overload("containsIP", vec![value.get_type().name().to_owned()])
    };
    let network = network.downcast_ref::<Network>().ok_or_else(|| other(network))?;
    let address = match (address.downcast_ref::<Address>(), address.downcast_ref::<CelString<'_>>()) {
        (Some(address), _) => *address,
        (None, Some(text)) => Address::parse(text.inner()).map_err(|e| failed("containsIP", e))?,
        (None, None) => return Err(other(address)),
    };
    Ok(boolean(network.contains(address.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_what_agrees_in_their_bits() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"][..], &["11.0.0.0", "::a00:1"][..]),
            ("10.1.2.3/32", &["10.1.2.3"], &["10.1.2.4"]),
            ("0.0.0.0/0", &["1.2.3.4"], &["::1"]),
            ("::ffff:10.0.0.0/104", &["10.1.1.1"], &["11.0.0.0"]),
            ("2001:db8::/32", &["2001:db8:ffff::1"], &["2001:db9::"]),
            ("::/0", &["::1"], &["10.0.0.1"]),
        ] {
            let parsed = Network::parse(network).expect(network);
            let has = |address: &&str| parsed.contains(Address::parse(address).expect(address).0);
            assert!(inside.iter().all(has), "{network}");
            assert!(!outside.iter().any(has), "{network}");
        }
    }

    #[test]
    fn nothing_else_is_a_network_or_an_address() {
        for wrong in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0/8",
            "::/129",
            "a/8",
            "::ffff:10.0.0.0/8",
        ] {
            assert!(Network::parse(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "10.0.0.01", "10.0.0.256", "1.2.3", " 1.2.3.4", "::g", "fe80::1%eth0", "0x7f.1"] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }
}
