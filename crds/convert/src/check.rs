//! Checks of single values.

use agentgateway_types::Path;

use crate::error::Error;

const MOST_HOST_BYTES: usize = 253;

/// RFC 9110 §5.6.2: header names and methods are tokens.
pub(crate) fn token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

pub(crate) fn header_name(path: Path, text: &str) -> Result<String, Error> {
    if token(text) { Ok(text.to_owned()) } else { Err(Error::invalid(path, format!("{text:?} is not a header name"))) }
}

/// RFC 9110 §5.5: visible characters, spaces and tabs, and none of the latter at the ends.
pub(crate) fn header_value(path: Path, text: &str) -> Result<String, Error> {
    let allowed = text.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 0x7f));
    if allowed && text.trim_matches([' ', '\t']) == text {
        Ok(text.to_owned())
    } else {
        Err(Error::invalid(path, "not a header value: control characters, or spaces at its ends"))
    }
}

pub(crate) fn method(path: Path, text: &str) -> Result<String, Error> {
    if token(text) { Ok(text.to_owned()) } else { Err(Error::invalid(path, format!("{text:?} is not a method"))) }
}

/// A host name as RFC 1123 has it, or an IP address; lower case in the result.
pub(crate) fn host(path: Path, text: &str) -> Result<String, Error> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<std::net::IpAddr>() {
        return Ok(address.to_string());
    }
    if hostname(text) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(Error::invalid(path, format!("{text:?} is neither a host name nor an IP address")))
    }
}

pub(crate) fn hostname(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        // Underscores are no part of RFC 1123 but of names in use, such as those of Docker Compose.
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= MOST_HOST_BYTES && text.split('.').all(label)
}

pub(crate) fn port(path: Path, port: u16) -> Result<u32, Error> {
    if port == 0 { Err(Error::invalid(path, "a port is a number from 1 to 65535")) } else { Ok(port.into()) }
}

pub(crate) fn absolute_path(path: Path, text: &str) -> Result<String, Error> {
    if !text.starts_with('/') {
        return Err(Error::invalid(path, format!("{text:?} must start with /")));
    }
    if text.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'#' || b == b'?') {
        return Err(Error::invalid(
            path,
            format!("{text:?} holds characters that no path may hold: ?, #, spaces or controls"),
        ));
    }
    Ok(text.to_owned())
}

/// A regular expression that compiles in the proxy's own engine.
pub(crate) fn regex(path: Path, text: &str) -> Result<String, Error> {
    match regex::Regex::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => {
            let last = error.to_string().lines().last().unwrap_or_default().to_owned();
            Err(Error::invalid(path, format!("{text:?} is not a regular expression: {last}")))
        }
    }
}

/// An absolute URL of HTTP without user information and fragment.
pub(crate) fn http_url(path: Path, text: &str) -> Result<String, Error> {
    let refuse = |why: &str| Err(Error::invalid(path.clone(), format!("{text:?} {why}")));
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else { return refuse("must start with https:// or http://") };
    if rest.bytes().any(|b| b <= b' ' || b >= 0x7f || b == b'#' || b == b'\\') {
        return refuse("holds characters that no URL may hold: #, spaces, controls or letters beyond ASCII");
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return refuse("must not hold a name or a password");
    }
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if !authority.ends_with(']') => (name, Some(port)),
        _ => (authority, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().unwrap_or_default() == 0) {
        return refuse("has no valid port");
    }
    host(path.clone(), name)?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses() {
        for good in ["a", "a.b.c", "A-1.example.com", "a_b", "10.0.0.1", "::1", "[::1]", "example.com."] {
            assert!(host(Path::root(), good).is_ok(), "{good}");
        }
        for bad in ["", "a..b", "-a", "a/b", "a b", "*.a", "a:1", "[::1"] {
            assert!(host(Path::root(), bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn urls_are_absolute_and_hold_no_password() {
        for good in ["https://a.example/jwks?x=1", "http://10.0.0.1:8080", "https://[::1]:1/", "https://a"] {
            assert!(http_url(Path::root(), good).is_ok(), "{good}");
        }
        for bad in
            ["a.example/x", "ftp://a/", "https://u:p@a/", "https:///x", "https://a:0/", "https://a/ b", "https://a/#f"]
        {
            assert!(http_url(Path::root(), bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn header_values_hold_no_line_breaks() {
        assert!(header_value(Path::root(), "a b").is_ok());
        for bad in ["a\r\nb", " a", "a\u{0}"] {
            assert!(header_value(Path::root(), bad).is_err(), "{bad:?}");
        }
    }
}
