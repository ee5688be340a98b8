//! Header modifiers: set, then add, then remove, on requests or responses.

use agentgateway_proto::v1;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Changes to a header table, parsed once.
#[derive(Debug)]
pub(crate) struct HeaderModifier {
    set: Box<[(HeaderName, HeaderValue)]>,
    add: Box<[(HeaderName, HeaderValue)]>,
    remove: Box<[HeaderName]>,
}

impl HeaderModifier {
    pub(crate) fn compile(spec: &v1::HeaderModifier) -> Result<HeaderModifier, String> {
        let name = |name: &str| {
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is not the name of a header"))
        };
        let pairs = |headers: &[v1::Header]| {
            headers
                .iter()
                .map(|h| {
                    let value = HeaderValue::from_str(&h.value)
                        .map_err(|_| format!("the value of {:?} cannot stand in a header", h.name))?;
                    Ok((name(&h.name)?, value))
                })
                .collect::<Result<_, String>>()
        };
        Ok(HeaderModifier {
            set: pairs(&spec.set)?,
            add: pairs(&spec.add)?,
            remove: spec.remove.iter().map(|n| name(n)).collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
        for name in &self.remove {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::request;

    fn header(name: &str, value: &str) -> v1::Header {
        v1::Header { name: name.into(), value: value.into() }
    }

    #[test]
    fn sets_adds_and_removes_in_any_case() {
        let spec = v1::HeaderModifier {
            set: vec![header("X-Set", "new")],
            add: vec![header("x-add", "b")],
            remove: vec!["X-Gone".into()],
        };
        let mut head =
            request("GET", "/", &[("x-set", "1"), ("x-set", "2"), ("x-add", "a"), ("x-gone", "1"), ("x-gone", "2")]);
        HeaderModifier::compile(&spec).expect("compiles").apply(&mut head.headers);
        let all = |name: &str| head.headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((all("x-set"), all("x-add"), all("x-gone")), (vec!["new"], vec!["a", "b"], vec![]));
    }

    #[test]
    fn refuses_what_cannot_stand_in_a_header() {
        for spec in [
            v1::HeaderModifier { set: vec![header("a b", "1")], ..Default::default() },
            v1::HeaderModifier { add: vec![header("a", "1\r\nb: 2")], ..Default::default() },
            v1::HeaderModifier { remove: vec![String::new()], ..Default::default() },
        ] {
            assert!(HeaderModifier::compile(&spec).is_err(), "{spec:?}");
        }
    }
}
