//! What requests can ask for by name: priorities.

use std::collections::HashMap;

use agentgateway_proto::v1;
use http::HeaderMap;

/// Names the request's objective; the second is what older clusters use.
const HEADERS: [&str; 2] = ["x-llm-d-inference-objective", "x-gateway-inference-objective"];

/// The objectives of a pool.
#[derive(Debug, Default)]
pub(crate) struct Objectives(HashMap<String, i32>);

impl Objectives {
    pub(crate) fn compile(config: &[v1::InferenceObjective]) -> Objectives {
        Objectives(config.iter().map(|objective| (objective.name.clone(), objective.priority)).collect())
    }

    /// The priority of a request; 0 where it names no objective, or one that the pool does not have.
    pub(crate) fn priority(&self, headers: &HeaderMap) -> i32 {
        let named = HEADERS.iter().find_map(|name| headers.get(*name));
        named.and_then(|name| name.to_str().ok()).and_then(|name| self.0.get(name)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objective_that_does_not_exist_gives_nothing() {
        let objective = |name: &str, priority| v1::InferenceObjective { name: name.into(), priority };
        let objectives = Objectives::compile(&[objective("batch", -1), objective("chat", 10)]);
        let priority = |name: &'static str, value: &'static [u8]| {
            let value = http::HeaderValue::from_bytes(value).expect("a value");
            objectives.priority(&HeaderMap::from_iter([(http::HeaderName::from_static(name), value)]))
        };
        assert_eq!(priority("x-llm-d-inference-objective", b"chat"), 10);
        assert_eq!(priority("x-gateway-inference-objective", b"batch"), -1);
        assert_eq!(priority("x-llm-d-inference-objective", b"root"), 0);
        assert_eq!(priority("x-llm-d-inference-objective", b"\xff"), 0);
        assert_eq!(objectives.priority(&HeaderMap::new()), 0);
    }
}
