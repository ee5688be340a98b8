//! Label selectors.

use std::collections::BTreeMap;

use gateway_api::apis::experimental::{gateways, listenersets};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Labels of an object; `None` is the same as none.
pub(crate) type Labels = BTreeMap<String, String>;

/// Whether labels fulfil a selector. An empty selector is fulfilled by all, one with an unknown operator by none.
pub(crate) fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    equal && selector.match_expressions.iter().flatten().all(|requirement| fulfils(requirement, labels))
}

/// The first operator of a selector that does not exist.
pub(crate) fn unknown_operator(selector: &LabelSelector) -> Option<&str> {
    let known = |operator: &str| matches!(operator, "In" | "NotIn" | "Exists" | "DoesNotExist");
    selector.match_expressions.iter().flatten().map(|r| r.operator.as_str()).find(|operator| !known(operator))
}

/// A selector as some kind of object spells it.
pub(crate) trait AsSelector {
    fn as_selector(&self) -> LabelSelector;
}

macro_rules! as_selector {
    ($($type:ty),*) => {$(
        impl AsSelector for $type {
            fn as_selector(&self) -> LabelSelector {
                let requirements = self.match_expressions.iter().flatten().map(|r| LabelSelectorRequirement {
                    key: r.key.clone(),
                    operator: r.operator.clone(),
                    values: r.values.clone(),
                });
                LabelSelector { match_expressions: Some(requirements.collect()), match_labels: self.match_labels.clone() }
            }
        }
    )*};
}

as_selector!(
    gateways::GatewayListenersAllowedRoutesNamespacesSelector,
    gateways::GatewayAllowedListenersNamespacesSelector,
    listenersets::ListenerSetListenersAllowedRoutesNamespacesSelector
);

fn fulfils(requirement: &LabelSelectorRequirement, labels: &Labels) -> bool {
    let value = labels.get(&requirement.key);
    let listed = || value.is_some_and(|v| requirement.values.iter().flatten().any(|wanted| wanted == v));
    match requirement.operator.as_str() {
        "In" => listed(),
        // Kubernetes: an object without the label is not in the list.
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(operator: &str, values: &[&str]) -> LabelSelector {
        let values = Some(values.iter().map(ToString::to_string).collect());
        let requirement = LabelSelectorRequirement { key: "k".into(), operator: operator.into(), values };
        LabelSelector { match_expressions: Some(vec![requirement]), match_labels: None }
    }

    #[test]
    fn operators_mean_what_kubernetes_says() {
        let with = Labels::from([("k".to_owned(), "a".to_owned())]);
        let without = Labels::new();
        for (operator, on_with, on_without) in [
            ("In", true, false),
            ("NotIn", false, true),
            ("Exists", true, false),
            ("DoesNotExist", false, true),
            ("Like", false, false),
        ] {
            let selector = requirement(operator, &["a", "b"]);
            assert_eq!(matches(&selector, &with), on_with, "{operator} with");
            assert_eq!(matches(&selector, &without), on_without, "{operator} without");
        }
        assert!(matches(&LabelSelector::default(), &without));
        assert_eq!(unknown_operator(&requirement("Like", &[])), Some("Like"));
    }
}
