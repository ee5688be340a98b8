//! Access logs, traces and labels of metrics. Expressions are not compiled here.

use std::collections::BTreeMap;

use agentgateway_proto::v1::{self, access_log, open_telemetry::Protocol, policy_spec::Kind};
use agentgateway_types::file::{CollectorHost, LogSink};
use agentgateway_types::policy::{AccessLog, AccessLogFormat, IncomingContext, Metrics, OpenTelemetry, Tracing};
use agentgateway_types::{Duration, Path};

use super::{Lookup, spec};
use crate::error::{Error, Within};

const MOST_LOGS: usize = 4;
const MOST_LABELS: usize = 4;

/// Where a collector is.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Key of its backend.
    pub backend_key: String,
    /// Name under which it is asked.
    pub authority: Option<String>,
    /// How long one batch may take.
    pub timeout: Option<Duration>,
}

/// Finds a collector that speaks this version of HTTP.
pub type Find<'a, D> = &'a mut dyn FnMut(&D, v1::HttpVersion) -> Result<Place, Error>;

/// Access logs; `sink` converts where one goes.
pub fn access_log<S>(
    logs: &[AccessLog<S>],
    sink: &mut dyn FnMut(&S) -> Result<access_log::Sink, Error>,
) -> Result<v1::PolicySpec, Error> {
    if logs.len() > MOST_LOGS {
        return Err(Error::invalid(Path::root(), format!("at most {MOST_LOGS} logs may be set")));
    }
    let mut made = Vec::with_capacity(logs.len());
    for (i, log) in logs.iter().enumerate() {
        let at = || Path::root().index(i);
        let format = match log.format.unwrap_or_default() {
            AccessLogFormat::Text => access_log::Format::Text,
            AccessLogFormat::Json => access_log::Format::Json,
        };
        let sink = log.sink.as_ref().map(&mut *sink).transpose().within(|| at().key("sink"))?;
        if matches!(sink, Some(access_log::Sink::OpenTelemetry(_)))
            && made.iter().any(|l: &v1::AccessLog| matches!(l.sink, Some(access_log::Sink::OpenTelemetry(_))))
        {
            return Err(Error::invalid(at().key("sink").key("openTelemetry"), "only one of the logs may have one"));
        }
        made.push(v1::AccessLog {
            format: format.into(),
            filter: log.filter.clone().unwrap_or_default(),
            add: named(&log.add).within(|| at().key("add"))?,
            remove: log.remove.clone(),
            sink,
        });
    }
    Ok(spec(Kind::AccessLogs(v1::AccessLogs { logs: made })))
}

/// Traces.
pub fn tracing<D>(policy: &Tracing<D>, find: Find<'_, D>) -> Result<v1::PolicySpec, Error> {
    Ok(spec(Kind::Tracing(v1::Tracing {
        open_telemetry: Some(open_telemetry(&policy.open_telemetry, find).within(|| Path::of("openTelemetry"))?),
        client_sampling: percentage("clientSampling", policy.client_sampling)?,
        random_sampling: percentage("randomSampling", policy.random_sampling)?,
        overall_sampling: percentage("overallSampling", policy.overall_sampling)?,
        filter: policy.filter.clone().unwrap_or_default(),
        attributes: named(&policy.attributes).within(|| Path::of("attributes"))?,
        restart: policy.incoming_context == Some(IncomingContext::Restart),
    })))
}

/// Labels of metrics.
pub fn metrics(policy: &Metrics) -> Result<v1::PolicySpec, Error> {
    if !(1..=MOST_LABELS).contains(&policy.labels.len()) {
        return Err(Error::invalid(Path::of("labels"), format!("must have 1 to {MOST_LABELS} entries")));
    }
    let mut labels: Vec<v1::MetricLabel> = Vec::with_capacity(policy.labels.len());
    for (i, label) in policy.labels.iter().enumerate() {
        let name = &label.name;
        let at = || Path::of("labels").index(i).key("name");
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && !name.starts_with("__");
        if !starts || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(Error::invalid(at(), format!("{name:?} is no name of a label: letters, digits and _")));
        }
        if ["gateway", "listener", "route", "status"].contains(&name.as_str()) {
            return Err(Error::invalid(at(), format!("{name} is a label already")));
        }
        if labels.iter().any(|other| other.name == *name) {
            return Err(Error::invalid(at(), format!("{name} is there twice")));
        }
        let max_values = label.max_values.unwrap_or(0);
        labels.push(v1::MetricLabel { name: name.clone(), expression: label.value.clone(), max_values });
    }
    Ok(spec(Kind::Metrics(v1::Metrics { labels })))
}

/// A collector.
pub fn open_telemetry<D>(config: &OpenTelemetry<D>, find: Find<'_, D>) -> Result<v1::OpenTelemetry, Error> {
    let (field, service, version, protocol) = match (&config.grpc_service, &config.http_service) {
        (Some(service), None) => ("grpcService", service, v1::HttpVersion::H2c, Protocol::Grpc),
        (None, Some(service)) => ("httpService", service, v1::HttpVersion::Unspecified, Protocol::Http),
        _ => return Err(Error::NotOne { path: Path::root(), members: "grpcService and httpService" }),
    };
    let place = find(service, version).within(|| Path::of(field))?;
    if place.timeout.is_some_and(|limit| limit.milliseconds() == 0) {
        return Err(Error::invalid(Path::of(field).key("requestTimeout"), "must be more than 0"));
    }
    if let Some(authority) = &place.authority
        && authority.bytes().any(|b| !b.is_ascii_graphic() || b"/@\\".contains(&b))
    {
        return Err(Error::invalid(Path::of(field).key("authority"), format!("{authority:?} is not a host name")));
    }
    Ok(v1::OpenTelemetry {
        backend_key: place.backend_key,
        protocol: protocol.into(),
        authority: place.authority.unwrap_or_default(),
        timeout_milliseconds: place.timeout.map(Duration::milliseconds),
        service_name: config.service_name.clone().unwrap_or_default(),
        resource_attributes: config.resource_attributes.clone(),
    })
}

/// A sink as the YAML file writes it.
pub(super) fn sink_of_file(sink: &LogSink, lookup: &mut dyn Lookup) -> Result<access_log::Sink, Error> {
    match (&sink.file, &sink.open_telemetry) {
        (Some(path), None) => {
            let path = lookup.expand(path).map_err(|why| Error::invalid(Path::of("file"), why))?;
            Ok(access_log::Sink::File(path))
        }
        (None, Some(config)) => {
            let made = open_telemetry(config, &mut |host, version| collector(host, version, lookup));
            Ok(access_log::Sink::OpenTelemetry(made.within(|| Path::of("openTelemetry"))?))
        }
        _ => Err(Error::NotOne { path: Path::root(), members: "file and openTelemetry" }),
    }
}

/// A collector as the YAML file names it.
pub(super) fn collector(
    config: &CollectorHost,
    version: v1::HttpVersion,
    lookup: &mut dyn Lookup,
) -> Result<Place, Error> {
    let hosts = vec![crate::backend::host_port(&config.host).within(|| Path::of("host"))?];
    let backend_key = lookup.backend(v1::HostBackend { hosts, version: version.into() }, config.tls.as_ref())?;
    Ok(Place { backend_key, authority: config.authority.clone(), timeout: config.request_timeout })
}

fn named(expressions: &BTreeMap<String, String>) -> Result<Vec<v1::NamedExpression>, Error> {
    let one = |(name, expression): (&String, &String)| {
        // They are columns of a line: nothing in them may end one.
        if name.is_empty()
            || name.len() > 256
            || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b))
        {
            return Err(Error::invalid(
                Path::root(),
                format!("{name:?} is no name of a field: letters, digits and ._-/"),
            ));
        }
        Ok(v1::NamedExpression { name: name.clone(), expression: expression.clone() })
    };
    expressions.iter().map(one).collect()
}

fn percentage(field: &'static str, value: Option<f64>) -> Result<Option<f64>, Error> {
    match value {
        Some(share) if !(0.0..=100.0).contains(&share) => {
            Err(Error::invalid(Path::of(field), format!("{share} is no percentage from 0 to 100")))
        }
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use agentgateway_types::policy::MetricLabel;

    use super::*;

    fn find(host: &String, version: v1::HttpVersion) -> Result<Place, Error> {
        Ok(Place { backend_key: format!("{}:{host}", version.as_str_name()), ..Place::default() })
    }

    fn otlp(grpc: bool) -> OpenTelemetry<String> {
        let service = Some("collector".to_owned());
        let (grpc_service, http_service) = if grpc { (service, None) } else { (None, service) };
        OpenTelemetry { grpc_service, http_service, ..OpenTelemetry::default() }
    }

    #[test]
    fn a_collector_is_reached_by_what_its_protocol_needs() {
        let of = |grpc| open_telemetry(&otlp(grpc), &mut find).expect("converts").backend_key;
        assert!(of(true).contains("H2C") && !of(false).contains("H2C"));
        assert!(open_telemetry(&OpenTelemetry::default(), &mut find).is_err());
    }

    #[test]
    fn the_field_that_is_wrong_is_named() {
        let tracing_of = |change: fn(&mut Tracing<String>)| {
            let mut policy = Tracing { open_telemetry: otlp(true), ..Tracing::default() };
            change(&mut policy);
            tracing(&policy, &mut find).map_err(|e| e.path().to_string())
        };
        assert!(tracing_of(|_| ()).is_ok());
        assert_eq!(tracing_of(|t| t.random_sampling = Some(101.0)), Err("randomSampling".into()));
        assert_eq!(tracing_of(|t| t.client_sampling = Some(f64::NAN)), Err("clientSampling".into()));
        assert_eq!(tracing_of(|t| drop(t.attributes.insert("a b".into(), "1".into()))), Err("attributes".into()));
        assert_eq!(tracing_of(|t| t.open_telemetry.grpc_service = None), Err("openTelemetry".into()));
        let label = |name: &str| MetricLabel { name: name.into(), value: "1".into(), max_values: None };
        let metrics_of = |names: &[&str]| {
            let labels = names.iter().map(|name| label(name)).collect();
            metrics(&Metrics { labels }).map_err(|e| e.path().to_string())
        };
        assert!(metrics_of(&["tenant", "_b2"]).is_ok());
        for wrong in ["a-b", "1a", "__a", "route"] {
            assert_eq!(metrics_of(&["tenant", wrong]), Err("labels[1].name".into()));
        }
        assert_eq!(metrics_of(&["a", "a"]), Err("labels[1].name".into()));
        assert!(metrics_of(&[]).is_err() && metrics_of(&["a", "b", "c", "d", "e"]).is_err());
    }

    #[test]
    fn one_log_may_go_to_a_collector() {
        let logs = vec![AccessLog { sink: Some(()), ..AccessLog::default() }; 2];
        let mut sink = |(): &()| Ok(access_log::Sink::OpenTelemetry(v1::OpenTelemetry::default()));
        let failed = access_log(&logs, &mut sink).expect_err("is refused");
        assert_eq!(failed.path().to_string(), "[1].sink.openTelemetry");
        assert!(access_log(&logs[..1], &mut sink).is_ok());
    }
}
