//! Providers that are compatible with another's API: what sets each apart, as data.

use std::collections::BTreeMap;

use agentgateway_proto::v1::LlmApi;
use serde::Deserialize;

/// Name -> preset, as JSON. Its facts are those of the providers' public documentation.
const PRESETS: &str = include_str!("presets.json");

/// A known provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Preset {
    pub(super) host: String,
    /// 443, encrypted, by default.
    #[serde(default = "https")]
    pub(super) port: u16,
    pub(super) base_path: String,
    apis: Vec<String>,
    #[serde(default)]
    pub(super) no_stream_options: bool,
}

fn https() -> u16 {
    443
}

impl Preset {
    /// The preset of this name; else the names that there are.
    pub(super) fn find(name: &str) -> Result<Preset, String> {
        let mut all: BTreeMap<String, Preset> = serde_json::from_str(PRESETS).map_err(|e| e.to_string())?;
        all.remove(name).ok_or_else(|| {
            let names: Vec<&str> = all.keys().map(String::as_str).collect();
            format!("{name:?} is no preset; those are {}", names.join(", "))
        })
    }

    pub(super) fn apis(&self) -> Vec<LlmApi> {
        self.apis.iter().filter_map(|name| LlmApi::from_str_name(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_whole() {
        let all: BTreeMap<String, Preset> = serde_json::from_str(PRESETS).expect("valid");
        for (name, preset) in all {
            assert_eq!(preset.apis().len(), preset.apis.len(), "{name}");
            assert!(!preset.apis.is_empty() && !preset.base_path.ends_with('/'), "{name}");
        }
        let error = Preset::find("nobody").expect_err("none");
        assert!(error.contains("groq"), "{error}");
    }
}
