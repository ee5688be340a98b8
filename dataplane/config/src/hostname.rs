//! Host names of listeners and routes, with `*` for the first labels, as Gateway API has them.

/// Checks a host name of the configuration and gives it in lower case.
pub(crate) fn check(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() > 253 || !name.split('.').all(label) {
        return Err(format!("{text:?} is not a host name such as example.com or *.example.com"));
    }
    if name.parse::<std::net::IpAddr>().is_ok() {
        return Err(format!("{text:?} is an IP address, and no host name"));
    }
    Ok(text.to_ascii_lowercase())
}

/// What both name, in its most specific form; an empty listener name is every host.
pub(crate) fn intersection(listener: &str, route: &str) -> Option<String> {
    let covers = |wildcard: &str, name: &str| {
        wildcard.strip_prefix('*').is_some_and(|suffix| name.len() > suffix.len() && name.ends_with(suffix))
    };
    if listener.is_empty() || listener == route || covers(listener, route) {
        Some(route.to_owned())
    } else if covers(route, listener) {
        Some(listener.to_owned())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_specific_name_remains() {
        for (listener, route, expected) in [
            ("", "a.example", Some("a.example")),
            ("a.example", "a.example", Some("a.example")),
            ("*.example", "a.example", Some("a.example")),
            ("a.example", "*.example", Some("a.example")),
            ("*.example", "*.b.example", Some("*.b.example")),
            ("*.b.example", "*.example", Some("*.b.example")),
            ("*.example", "*.example", Some("*.example")),
            ("*.example", "example", None),
            ("a.example", "b.example", None),
        ] {
            assert_eq!(intersection(listener, route).as_deref(), expected, "{listener} {route}");
        }
    }

    #[test]
    fn checks_names() {
        assert_eq!(check("*.Example.COM").as_deref(), Ok("*.example.com"));
        for bad in ["", "*", "a.*.b", "*a.b", "a..b", "a b", "10.0.0.1", "-a.b", "http://a"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
