//! Pools of model servers, and pickers in the spelling of llm-d's EndpointPickerConfig.

use agentgateway_proto::key;
use agentgateway_proto::v1::inference_flow_control::{Band, Fairness};
use agentgateway_proto::v1::inference_picker::{Choice, PrefixCache, Scorer, scorer::Kind};
use agentgateway_proto::v1::{self, ObjectRef, inference_metrics::Engine};
use agentgateway_types::backend::StaticBackend;
use agentgateway_types::inference::{
    BandLimits, EndpointPickerConfig, FairnessPolicy, InferenceEngine, InferenceHosts, InferenceMetrics,
    ModelRewriteRule, PickerFailureMode, PluginParameters, PluginSpec, PriorityBand,
};
use agentgateway_types::{Duration, Path, Size};

use crate::error::{Error, Within};
use crate::{backend, check};

/// Section of a pool's key that names the backend with its endpoints.
pub const ENDPOINTS: &str = "endpoints";
/// Section of a pool's key that names the backend with its external picker.
pub const PICKER: &str = "picker";

const SCORERS: [(&str, Kind); 9] = [
    ("queue-scorer", Kind::Queue),
    ("kv-cache-utilization-scorer", Kind::KvCacheUtilization),
    ("running-requests-size-scorer", Kind::RunningRequests),
    ("prefix-cache-scorer", Kind::PrefixCache),
    ("lora-affinity-scorer", Kind::LoraAffinity),
    ("load-aware-scorer", Kind::LoadAware),
    ("token-load-scorer", Kind::TokenLoad),
    ("active-request-scorer", Kind::ActiveRequests),
    ("session-affinity-scorer", Kind::SessionAffinity),
];

const PICKERS: [(&str, Choice); 3] = [
    ("max-score-picker", Choice::MaxScore),
    ("weighted-random-picker", Choice::WeightedRandom),
    ("random-picker", Choice::Random),
];

/// Says when a pool is saturated; it has no place in a profile.
const DETECTOR: &str = "utilization-detector";

/// What is always so here, and need not be said.
const IMPLIED: [&str; 3] = ["single-profile-handler", "metrics-data-source", "core-metrics-extractor"];

/// A pool of the YAML file, and what it stands on.
#[derive(Clone, Debug, PartialEq)]
pub struct HostPool {
    /// Its hosts.
    pub hosts: v1::Backend,
    /// The service that chooses among them.
    pub picker: Option<v1::Backend>,
    /// Itself.
    pub pool: v1::Backend,
}

/// The pool `source` of the YAML file.
pub fn inference_hosts(config: &InferenceHosts, source: &ObjectRef) -> Result<HostPool, Error> {
    let hosts = StaticBackend { hosts: config.hosts.clone(), app_protocol: config.app_protocol };
    let mut below = backend::static_backend(&hosts, source)?;
    below.key = key::backend_section(source, ENDPOINTS);
    let mut objectives: Vec<v1::InferenceObjective> = Vec::new();
    for (i, objective) in config.objectives.iter().enumerate() {
        if objectives.iter().any(|other| other.name == objective.name) {
            let at = Path::of("objectives").index(i).key("name");
            return Err(Error::invalid(at, format!("{:?} is the name of two objectives", objective.name)));
        }
        let priority = objective.priority.unwrap_or_default();
        objectives.push(v1::InferenceObjective { name: objective.name.clone(), priority });
    }
    let picker_host = match &config.external_picker {
        None => None,
        Some(picker) => {
            let hosts = vec![backend::host_port(&picker.host).within(|| Path::of("externalPicker").key("host"))?];
            let host = v1::HostBackend { hosts, version: v1::HttpVersion::H2c.into() };
            Some(backend::host(host, source, key::backend_section(source, PICKER)))
        }
    };
    let external = |made: &v1::Backend| v1::inference_backend::ExternalPicker {
        backend_key: made.key.clone(),
        fail_open: config.external_picker.as_ref().and_then(|p| p.failure_mode) == Some(PickerFailureMode::FailOpen),
    };
    let header = config.choice_header.as_ref().map(|name| check::header_name(Path::of("choiceHeader"), name));
    let pool = v1::InferenceBackend {
        backend_key: below.key.clone(),
        picker: config.picker.as_ref().map(picker).transpose().within(|| Path::of("picker"))?,
        metrics: config.metrics.as_ref().map(metrics).transpose().within(|| Path::of("metrics"))?,
        objectives,
        rewrites: config.model_rewrites.iter().map(rewrite).collect(),
        choice_header: header.transpose()?.unwrap_or_default(),
        flow_control: config.picker.as_ref().and_then(flow_control),
        external_picker: picker_host.as_ref().map(external),
    };
    Ok(HostPool { hosts: below, picker: picker_host, pool: inference_pool(pool, source) })
}

/// The pool `source`.
pub fn inference_pool(pool: v1::InferenceBackend, source: &ObjectRef) -> v1::Backend {
    v1::Backend {
        key: key::backend(source),
        source: Some(source.clone()),
        kind: Some(v1::backend::Kind::Inference(pool)),
        ..v1::Backend::default()
    }
}

fn metrics(config: &InferenceMetrics) -> Result<v1::InferenceMetrics, Error> {
    let engine = match config.engine.unwrap_or_default() {
        InferenceEngine::Vllm => Engine::Vllm,
        InferenceEngine::Sglang => Engine::Sglang,
        InferenceEngine::TritonTensorrtLlm => Engine::TritonTensorrtLlm,
        InferenceEngine::TrtllmServe => Engine::TrtllmServe,
    };
    let path = config.path.as_ref().map(|path| check::absolute_path(Path::of("path"), path)).transpose()?;
    let port = config.port.map(|port| check::port(Path::of("port"), port)).transpose()?;
    Ok(v1::InferenceMetrics { engine: engine.into(), path: path.unwrap_or_default(), port: port.unwrap_or_default() })
}

fn rewrite(config: &ModelRewriteRule) -> v1::ModelRewrite {
    let target = |target: &agentgateway_types::inference::ModelRewriteTarget| v1::model_rewrite::Target {
        model: target.model_rewrite.clone(),
        weight: target.weight.unwrap_or(1),
    };
    let targets = config.targets.iter().map(target).collect();
    v1::ModelRewrite { model: config.model.clone().unwrap_or_default(), targets }
}

/// The one profile of a picker's configuration.
pub fn picker(config: &EndpointPickerConfig) -> Result<v1::InferencePicker, Error> {
    let name = |plugin: &PluginSpec| plugin.name.clone().unwrap_or_else(|| plugin.plugin_type.clone());
    for (i, plugin) in config.plugins.iter().enumerate() {
        let at = || Path::of("plugins").index(i);
        if config.plugins.iter().take(i).any(|other| name(other) == name(plugin)) {
            return Err(Error::invalid(at().key("name"), format!("{:?} is the name of two plugins", name(plugin))));
        }
        known(plugin).within(at)?;
    }
    if config.scheduling_profiles.len() > 1 {
        let at = Path::of("schedulingProfiles").index(1);
        return Err(Error::invalid(at, "only one profile can be used here"));
    }
    let mut made = Made::default();
    match config.scheduling_profiles.first() {
        None => {
            for (i, plugin) in config.plugins.iter().enumerate() {
                made.add(plugin, None).within(|| Path::of("plugins").index(i))?;
            }
        }
        Some(profile) => {
            for (i, used) in profile.plugins.iter().enumerate() {
                let at = || Path::of("schedulingProfiles").index(0).key("plugins").index(i);
                let plugin = config.plugins.iter().find(|plugin| name(plugin) == used.plugin_ref).ok_or_else(|| {
                    Error::invalid(
                        at().key("pluginRef"),
                        format!("there is no plugin of the name {:?}", used.plugin_ref),
                    )
                })?;
                made.add(plugin, used.weight).within(at)?;
            }
        }
    }
    Ok(made.picker)
}

/// What requests do that find the pool saturated; None where all is as usual.
fn flow_control(config: &EndpointPickerConfig) -> Option<v1::InferenceFlowControl> {
    let detector = config.plugins.iter().find(|plugin| plugin.plugin_type == DETECTOR);
    if detector.is_none() && config.flow_control.is_none() {
        return None;
    }
    let thresholds = detector.and_then(|plugin| plugin.parameters.clone()).unwrap_or_default();
    let flow = config.flow_control.clone().unwrap_or_default();
    let bytes = |size: Option<Size>| size.map_or(0, Size::bytes);
    let fairness = |policy: Option<FairnessPolicy>| match policy.unwrap_or_default() {
        FairnessPolicy::GlobalStrict => Fairness::GlobalStrict.into(),
        FairnessPolicy::RoundRobin => Fairness::RoundRobin.into(),
    };
    let limits = |band: BandLimits| Band {
        priority: 0,
        max_requests: band.max_requests.unwrap_or_default(),
        max_bytes: bytes(band.max_bytes),
        fairness: fairness(band.fairness_policy_ref),
    };
    let band = |band: PriorityBand| Band {
        priority: band.priority,
        max_requests: band.max_requests.unwrap_or_default(),
        max_bytes: bytes(band.max_bytes),
        fairness: fairness(band.fairness_policy_ref),
    };
    Some(v1::InferenceFlowControl {
        max_requests: flow.max_requests.unwrap_or_default(),
        max_bytes: bytes(flow.max_bytes),
        ttl_milliseconds: flow.default_request_ttl.map_or(0, Duration::milliseconds),
        bands: flow.priority_bands.into_iter().map(band).collect(),
        default_band: flow.default_priority_band.map(limits),
        default_negative_band: flow.default_negative_priority_band.map(limits),
        queue_depth: thresholds.queue_depth_threshold.map_or(0.0, f64::from),
        kv_cache_utilization: thresholds.kv_cache_util_threshold.unwrap_or_default(),
        waits: config.flow_control.is_some(),
    })
}

/// Refuses plugins, and settings of plugins, that are not known here.
fn known(plugin: &PluginSpec) -> Result<(), Error> {
    let kind = plugin.plugin_type.as_str();
    let is_picker = PICKERS.iter().any(|(name, _)| *name == kind);
    let is_other = IMPLIED.contains(&kind) || kind == DETECTOR;
    if !is_picker && !SCORERS.iter().any(|(name, _)| *name == kind) && !is_other {
        let names: Vec<&str> =
            SCORERS.iter().map(|(name, _)| *name).chain(PICKERS.iter().map(|(name, _)| *name)).collect();
        let message = format!("there is no plugin {kind:?} here; there are {}", names.join(", "));
        return Err(Error::invalid(Path::of("type"), message));
    }
    let p = plugin.parameters.clone().unwrap_or_default();
    let settings = [
        ("blockSizeTokens", p.block_size_tokens.is_some(), kind == "prefix-cache-scorer"),
        ("maxPrefixTokensToMatch", p.max_prefix_tokens_to_match.is_some(), kind == "prefix-cache-scorer"),
        ("lruCapacityPerServer", p.lru_capacity_per_server.is_some(), kind == "prefix-cache-scorer"),
        ("threshold", p.threshold.is_some(), kind == "load-aware-scorer"),
        ("queueThresholdTokens", p.queue_threshold_tokens.is_some(), kind == "token-load-scorer"),
        ("queueDepthThreshold", p.queue_depth_threshold.is_some(), kind == DETECTOR),
        ("kvCacheUtilThreshold", p.kv_cache_util_threshold.is_some(), kind == DETECTOR),
        ("maxNumOfEndpoints", p.max_num_of_endpoints.is_some(), is_picker),
    ];
    match settings.into_iter().find(|(_, is_set, is_its)| *is_set && !is_its) {
        Some((name, ..)) => Err(Error::invalid(Path::of("parameters").key(name), format!("is no parameter of {kind}"))),
        None => Ok(()),
    }
}

/// A profile while it is made.
#[derive(Default)]
struct Made {
    picker: v1::InferencePicker,
    has_picker: bool,
}

impl Made {
    fn add(&mut self, plugin: &PluginSpec, weight: Option<f64>) -> Result<(), Error> {
        let parameters = plugin.parameters.clone().unwrap_or_default();
        if let Some((_, kind)) = SCORERS.iter().find(|(name, _)| *name == plugin.plugin_type) {
            return self.scorer(*kind, weight, &parameters);
        }
        if weight.is_some() {
            return Err(Error::invalid(Path::of("weight"), format!("{} is no scorer", plugin.plugin_type)));
        }
        if let Some((_, choice)) = PICKERS.iter().find(|(name, _)| *name == plugin.plugin_type) {
            if std::mem::replace(&mut self.has_picker, true) {
                return Err(Error::invalid(Path::root(), "there is another picker already"));
            }
            self.picker.choice = (*choice).into();
            self.picker.max_endpoints = parameters.max_num_of_endpoints.unwrap_or_default();
        }
        Ok(())
    }

    fn scorer(&mut self, kind: Kind, weight: Option<f64>, parameters: &PluginParameters) -> Result<(), Error> {
        let weight = weight.unwrap_or(1.0);
        if !(0.0..=1000.0).contains(&weight) {
            return Err(Error::invalid(Path::of("weight"), "a weight is a number from 0 to 1000"));
        }
        if kind == Kind::PrefixCache {
            self.picker.prefix_cache = Some(PrefixCache {
                block_tokens: parameters.block_size_tokens.unwrap_or_default(),
                max_tokens: parameters.max_prefix_tokens_to_match.unwrap_or_default(),
                blocks_per_endpoint: parameters.lru_capacity_per_server.unwrap_or_default(),
            });
        }
        let threshold = parameters.threshold.or(parameters.queue_threshold_tokens).unwrap_or_default();
        self.picker.scorers.push(Scorer { kind: kind.into(), weight, threshold });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use agentgateway_types::inference::{PluginRef, SchedulingProfile};

    use super::*;

    fn plugin(kind: &str) -> PluginSpec {
        PluginSpec { plugin_type: kind.into(), ..PluginSpec::default() }
    }

    #[test]
    fn without_a_profile_all_count_the_same() {
        let plugins = vec![plugin("queue-scorer"), plugin("prefix-cache-scorer"), plugin("random-picker")];
        let made = picker(&EndpointPickerConfig { plugins, ..Default::default() }).expect("converts");
        let scorers: Vec<_> = made.scorers.iter().map(|s| (s.kind(), s.weight)).collect();
        assert_eq!(scorers, [(Kind::Queue, 1.0), (Kind::PrefixCache, 1.0)]);
        assert_eq!(made.choice(), Choice::Random);
    }

    #[test]
    fn a_profile_says_what_counts_and_how_much() {
        let used = |name: &str, weight| PluginRef { plugin_ref: name.into(), weight };
        let named = PluginSpec { name: Some("q".into()), ..plugin("queue-scorer") };
        let config = |plugins| EndpointPickerConfig {
            plugins: vec![named.clone(), plugin("token-load-scorer"), plugin("max-score-picker")],
            scheduling_profiles: vec![SchedulingProfile { name: "default".into(), plugins }],
            ..EndpointPickerConfig::default()
        };
        let made = picker(&config(vec![used("q", Some(2.5))])).expect("converts");
        assert_eq!(made.scorers.iter().map(|s| (s.kind(), s.weight)).collect::<Vec<_>>(), [(Kind::Queue, 2.5)]);
        for (plugins, path) in [
            (vec![used("nobody", None)], "schedulingProfiles[0].plugins[0].pluginRef"),
            (vec![used("q", Some(-1.0))], "schedulingProfiles[0].plugins[0].weight"),
            (vec![used("max-score-picker", Some(1.0))], "schedulingProfiles[0].plugins[0].weight"),
        ] {
            assert_eq!(picker(&config(plugins)).expect_err("refused").path().to_string(), path);
        }
    }

    #[test]
    fn what_is_not_known_is_refused_by_its_name() {
        let refused = |plugins| picker(&EndpointPickerConfig { plugins, ..Default::default() }).expect_err("refused");
        let error = refused(vec![plugin("queue-scorer"), plugin("latency-scorer")]);
        assert!(error.to_string().starts_with("plugins[1].type: there is no plugin \"latency-scorer\""), "{error}");
        let parameters = Some(PluginParameters { threshold: Some(1), ..PluginParameters::default() });
        let error = refused(vec![PluginSpec { parameters, ..plugin("queue-scorer") }]);
        assert_eq!(error.path().to_string(), "plugins[0].parameters.threshold");
        assert!(
            picker(&EndpointPickerConfig { plugins: vec![plugin("single-profile-handler")], ..Default::default() })
                .is_ok()
        );
        refused(vec![plugin("queue-scorer"), plugin("queue-scorer")]);
        refused(vec![plugin("random-picker"), plugin("max-score-picker")]);
    }
}
