//! What a request is for, as routing, rules and backends must all see it alike.
//!
//! Paths are compared as they were sent, by routes and by rules. A backend may see more in one than its characters: `/a/../b` is `/b`
//! to most. A client removes such segments before it sends (RFC 3986 §5.2.4), so they are refused here, also where they are
//! written in escapes or before a parameter: otherwise they led past what protects `/b`.

use http::Version;
use http::header::{self, HeaderValue};
use http::request::Parts;

/// Why a request may not have this path; None: it may.
pub(crate) fn refuse(path: &str) -> Option<&'static str> {
    if path.contains('\\') {
        return Some("the path has a backslash");
    }
    // Almost every path ends here.
    if !path.contains("/.") && !path.contains('%') {
        return None;
    }
    let mut segment = Segment::default();
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, length) = match (first, after) {
            (b'%', [b'2', b'e' | b'E', ..]) => (b'.', 3),
            (b'%', [b'2', b'f' | b'F', ..]) | (b'%', [b'5', b'c' | b'C', ..]) => (b'/', 3),
            (b'%', [b'3', b'b' | b'B', ..]) => (b';', 3),
            (b'%', [b'0', b'0', ..]) => return Some("the path has a null byte"),
            _ => (*first, 1),
        };
        if byte == b'/' {
            if segment.is_dots() {
                return Some("the path has dot segments");
            }
            segment = Segment::default();
        } else {
            segment.add(byte);
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    segment.is_dots().then_some("the path has dot segments")
}

/// The beginning of a segment, up to its parameters.
#[derive(Default)]
struct Segment {
    dots: usize,
    other: bool,
    ended: bool,
}

impl Segment {
    fn add(&mut self, byte: u8) {
        match byte {
            _ if self.ended => {}
            b';' => self.ended = true,
            b'.' => self.dots += 1,
            _ => self.other = true,
        }
    }

    fn is_dots(&self) -> bool {
        !self.other && (self.dots == 1 || self.dots == 2)
    }
}

/// Makes the request name one host, for rules and backends too. Over HTTP/1.1 a target with a host outranks `Host` (RFC 9112
/// §3.2.2); over HTTP/2 they must be the same (RFC 9113 §8.3.1).
pub(crate) fn unify_host(head: &mut Parts) -> Result<(), &'static str> {
    let (Some(authority), Some(host)) = (head.uri.authority(), head.headers.get(header::HOST)) else { return Ok(()) };
    if host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) {
        return Ok(());
    }
    if head.version == Version::HTTP_2 {
        return Err(":authority and Host differ");
    }
    let value = HeaderValue::from_str(authority.as_str()).map_err(|_| "the target names no host")?;
    head.headers.insert(header::HOST, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_backend_may_take_for_another_path_is_refused() {
        for path in [
            "/a/../b",
            "/..",
            "/.",
            "/a/.",
            "/a/./b",
            "/%2e%2e/b",
            "/a/.%2E/b",
            "/a%2f..%2fb",
            "/a%5c..%5Cb",
            "/..;/b",
            "/a/..;x=1/b",
            "/a/%2e%2e%3b/b",
            "/a\\b",
            "/a/..%00",
            "/%2F..",
        ] {
            assert!(refuse(path).is_some(), "{path}");
        }
        for path in [
            "/",
            "/a.b",
            "/.well-known/x",
            "/...",
            "/a/..b",
            "/b..",
            "/a%2fb",
            "/a;x=..",
            "/a%20b",
            "/a//b",
            "*",
            "/%25%32%65",
        ] {
            assert_eq!(refuse(path), None, "{path}");
        }
    }

    #[test]
    fn a_request_names_one_host() {
        let unified = |version, uri: &str, host: &str| {
            let request = http::Request::get(uri).version(version).header("host", host).body(()).expect("a request");
            let mut head = request.into_parts().0;
            unify_host(&mut head).map(|()| head.headers[header::HOST].clone())
        };
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        assert_eq!(unified(one, "http://a.example/x", "b.example").expect("outranks"), "a.example");
        assert_eq!(unified(one, "/x", "b.example").expect("as it is"), "b.example");
        assert_eq!(unified(two, "http://a.example/x", "A.example").expect("the same"), "A.example");
        assert!(unified(two, "http://a.example/x", "b.example").is_err());
    }
}
