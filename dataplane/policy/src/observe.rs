//! What is told of requests: access logs, traces, and metrics with labels of the user's. It changes no request; the pipeline asks
//! it when a response has been sent. Of several policies the most specific counts, for each of the three by itself.

use std::path::Path;
use std::sync::Arc;

use agentgateway_expression::{Expression, HttpInput, Scope};
use agentgateway_otlp::{Exporter, Item, log_record, span};
use agentgateway_proto::v1::{self, access_log};
use agentgateway_telemetry::labels::{Counted, Label, LabelTable};
use agentgateway_telemetry::lines::{self, Column, Sink};
use agentgateway_telemetry::trace::{Ended, Parent, Trace};
use agentgateway_telemetry::{FieldValue, RequestTelemetry};
use http::request::Parts;
use http::response;
use serde_json::Value;

use crate::context::Seen;
use crate::{RequestContext, State};

const DEFAULT_MAX_VALUES: usize = 100;

/// The policies of one chain that tell of requests.
#[derive(Clone, Debug, Default)]
pub struct Observers {
    logs: Option<Arc<AccessLogs>>,
    tracing: Option<Arc<Tracing>>,
    metrics: Option<Arc<Metrics>>,
}

/// One of them.
pub(crate) enum Observer {
    Logs(AccessLogs),
    Tracing(Tracing),
    Metrics(Metrics),
}

#[derive(Debug)]
pub(crate) struct AccessLogs(Box<[AccessLog]>);

#[derive(Debug)]
struct AccessLog {
    is_json: bool,
    filter: Option<Expression>,
    add: Box<[(Arc<str>, Expression)]>,
    remove: Box<[String]>,
    to: To,
}

#[derive(Debug)]
enum To {
    Lines(Arc<Sink>),
    Collector(Arc<Exporter>),
}

#[derive(Debug)]
pub(crate) struct Tracing {
    to: Arc<Exporter>,
    client: Share,
    random: Share,
    overall: Share,
    filter: Option<Expression>,
    attributes: Box<[(Arc<str>, Expression)]>,
    restart: bool,
}

/// A share of requests.
#[derive(Clone, Copy, Debug)]
struct Share(u64);

impl Share {
    /// In this many parts.
    const WHOLE: u64 = 1_000_000;

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 1,000,000")]
    fn of(percent: Option<f64>) -> Result<Share, String> {
        match percent {
            None => Ok(Share(Self::WHOLE)),
            Some(percent) if (0.0..=100.0).contains(&percent) => Ok(Share((percent * 1e4).round() as u64)),
            Some(percent) => Err(format!("{percent} is no percentage from 0 to 100")),
        }
    }

    /// `draw` gives a number below its argument.
    fn has(self, draw: &dyn Fn(u64) -> u64) -> bool {
        self.0 >= Self::WHOLE || draw(Self::WHOLE) < self.0
    }
}

#[derive(Debug)]
pub(crate) struct Metrics {
    values: Box<[Expression]>,
    table: Arc<LabelTable>,
}

/// What expressions see of a request when its response has been sent.
#[derive(Debug)]
pub struct Witness {
    request: Seen,
    response: response::Parts,
}

impl Witness {
    fn input<'a>(&'a self, fields: Option<&'a Value>) -> HttpInput<'a> {
        HttpInput { fields, ..self.request.response_input(&self.response) }
    }
}

/// A request whose response has been sent.
#[derive(Debug)]
pub struct Told<'a> {
    /// What the access log tells of it.
    pub columns: &'a [Column],
    /// None where no expression looks at it.
    pub witness: Option<&'a Witness>,
    /// Its span and those in it, where it is traced; the name of its own is the first.
    pub trace: Option<(&'a Trace, Vec<Ended>)>,
    /// Its numbers.
    pub counted: Counted,
}

impl Observers {
    pub(crate) fn compile_logs(spec: &v1::AccessLogs, state: &State) -> Result<Observer, String> {
        let compile = |(i, log)| AccessLog::compile(log, state).map_err(|why| format!("accessLog[{i}].{why}"));
        let logs = spec.logs.iter().enumerate().map(compile).collect::<Result<_, _>>()?;
        Ok(Observer::Logs(AccessLogs(logs)))
    }

    pub(crate) fn compile_tracing(spec: &v1::Tracing, state: &State) -> Result<Observer, String> {
        let to = spec.open_telemetry.as_ref().ok_or("it names no collector")?;
        let filter = match spec.filter.as_str() {
            "" => None,
            source => {
                let filter = Expression::compile(source).map_err(|error| format!("filter: {error}"))?;
                if filter.uses_mcp() {
                    return Err("filter: mcp is not known here".into());
                }
                Some(filter)
            }
        };
        let share = |name: &str, percent| Share::of(percent).map_err(|why| format!("{name}: {why}"));
        Ok(Observer::Tracing(Tracing {
            to: state.exporters().get(to)?,
            client: share("clientSampling", spec.client_sampling)?,
            random: share("randomSampling", spec.random_sampling)?,
            overall: share("overallSampling", spec.overall_sampling)?,
            filter,
            attributes: named("attributes", &spec.attributes)?,
            restart: spec.restart,
        }))
    }

    pub(crate) fn compile_metrics(spec: &v1::Metrics, key: &str, state: &State) -> Result<Observer, String> {
        let mut values = Vec::with_capacity(spec.labels.len());
        let mut labels = Vec::with_capacity(spec.labels.len());
        for label in &spec.labels {
            values.push(record(&label.expression).map_err(|error| format!("label {}: {error}", label.name))?);
            let max_values = usize::try_from(label.max_values).unwrap_or(usize::MAX);
            let max_values = if max_values == 0 { DEFAULT_MAX_VALUES } else { max_values };
            labels.push(Label { name: label.name.as_str().into(), max_values });
        }
        if labels.is_empty() {
            return Err("it has no labels".into());
        }
        Ok(Observer::Metrics(Metrics { values: values.into(), table: state.label_table(key, labels) }))
    }

    /// Takes what is not set yet, and says whether it was.
    pub(crate) fn add(&mut self, observer: Observer) -> bool {
        fn set<T>(place: &mut Option<Arc<T>>, new: T) -> bool {
            let free = place.is_none();
            place.get_or_insert_with(|| Arc::new(new));
            free
        }
        match observer {
            Observer::Logs(logs) => set(&mut self.logs, logs),
            Observer::Tracing(tracing) => set(&mut self.tracing, tracing),
            Observer::Metrics(metrics) => set(&mut self.metrics, metrics),
        }
    }

    /// These, where they say something, and what `others` say else.
    pub fn or(&self, others: &Observers) -> Observers {
        Observers {
            logs: self.logs.clone().or_else(|| others.logs.clone()),
            tracing: self.tracing.clone().or_else(|| others.tracing.clone()),
            metrics: self.metrics.clone().or_else(|| others.metrics.clone()),
        }
    }

    /// Whether a policy says how requests are logged, also that they are not.
    pub fn has_logs(&self) -> bool {
        self.logs.is_some()
    }

    /// Whether there is anything to tell of a request, which is `sampled` or not.
    pub fn wants(&self, sampled: bool) -> bool {
        let logs = self.logs.as_ref().is_some_and(|logs| !logs.0.is_empty());
        logs || self.metrics.is_some() || (sampled && self.tracing.is_some())
    }

    /// Whether an expression looks at requests afterwards.
    pub fn looks_back(&self) -> bool {
        let of_logs = self.logs.iter().flat_map(|logs| &logs.0).any(|l| l.filter.is_some() || !l.add.is_empty());
        of_logs || self.metrics.is_some() || self.tracing.as_ref().is_some_and(|t| !t.attributes.is_empty())
    }

    /// Whether requests may be traced.
    pub fn traces(&self) -> bool {
        self.tracing.is_some()
    }

    /// Decides whether a request is traced, and where it stands in the trace. `draw` gives a number below its argument.
    pub fn begin(
        &self,
        head: &Parts,
        context: &RequestContext,
        telemetry: &RequestTelemetry,
        draw: &dyn Fn(u64) -> u64,
    ) {
        let Some(tracing) = &self.tracing else { return };
        let incoming = Parent::of(&head.headers).filter(|_| !tracing.restart);
        let chosen = match incoming {
            Some(parent) => parent.sampled && tracing.client.has(draw),
            None => tracing.random.has(draw),
        };
        let passes = |filter: &Expression| filter.evaluate_http(&context.input(head)).unwrap_or(false);
        let sampled = chosen && tracing.overall.has(draw) && tracing.filter.as_ref().is_none_or(passes);
        telemetry.begin_trace(Trace::begin(&head.headers, tracing.restart, sampled));
    }

    /// Tells of a request.
    pub fn tell(&self, told: Told<'_>) {
        let Told { columns, witness, trace, counted } = told;
        let fields = self.uses_fields().then(|| lines::object(columns));
        let input = witness.map(|witness| witness.input(fields.as_ref()));
        let place = trace.as_ref().map(|(trace, _)| *trace);
        for log in self.logs.iter().flat_map(|logs| &logs.0) {
            log.write(columns, input.as_ref(), place);
        }
        if let (Some(metrics), Some(input)) = (&self.metrics, &input) {
            let text = |value: &Expression| value.evaluate_text(input).unwrap_or_default();
            metrics.table.count(&metrics.values.iter().map(text).collect::<Vec<_>>(), counted);
        }
        if let (Some(tracing), Some((trace, spans))) = (&self.tracing, trace)
            && trace.own.sampled
        {
            let attributes = evaluate(&tracing.attributes, input.as_ref());
            for (i, ended) in spans.into_iter().enumerate() {
                let (root, more) = if i == 0 { (true, &attributes[..]) } else { (false, &[][..]) };
                tracing.to.send(Item::Span(Box::new(span(trace, ended, root, more))));
            }
        }
    }

    fn uses_fields(&self) -> bool {
        let of_logs = self.logs.iter().flat_map(|logs| &logs.0).any(|log| {
            let added = log.add.iter().any(|(_, expression)| expression.uses_fields());
            added || log.filter.as_ref().is_some_and(Expression::uses_fields)
        });
        let metrics = self.metrics.as_ref();
        of_logs
            || metrics.is_some_and(|m| m.values.iter().any(Expression::uses_fields))
            || self.tracing.as_ref().is_some_and(|t| t.attributes.iter().any(|(_, e)| e.uses_fields()))
    }
}

impl AccessLog {
    fn compile(spec: &v1::AccessLog, state: &State) -> Result<AccessLog, String> {
        let started = |sink: std::io::Result<Arc<Sink>>| {
            sink.map(To::Lines).map_err(|error| format!("the writer of the log cannot be started: {error}"))
        };
        let filter = match spec.filter.as_str() {
            "" => None,
            source => Some(record(source).map_err(|error| format!("filter: {error}"))?),
        };
        Ok(AccessLog {
            is_json: spec.format() == access_log::Format::Json,
            filter,
            add: named("add", &spec.add)?,
            remove: spec.remove.clone().into(),
            to: match &spec.sink {
                None => started(state.sinks().get(None))?,
                Some(access_log::Sink::File(path)) => started(state.sinks().get(Some(Path::new(path))))?,
                Some(access_log::Sink::OpenTelemetry(to)) => To::Collector(state.exporters().get(to)?),
            },
        })
    }

    fn write(&self, columns: &[Column], input: Option<&HttpInput<'_>>, place: Option<&Trace>) {
        if let Some(filter) = &self.filter
            && !input.is_some_and(|input| filter.evaluate_http(input).unwrap_or(false))
        {
            return;
        }
        let changed;
        let columns = if self.add.is_empty() && self.remove.is_empty() {
            columns
        } else {
            let is_kept = |(name, _): &&Column| {
                !self.remove.iter().any(|removed| removed == name)
                    && !self.add.iter().any(|(added, _)| **added == **name)
            };
            let mut kept: Vec<Column> = columns.iter().filter(is_kept).cloned().collect();
            kept.extend(evaluate(&self.add, input));
            changed = kept;
            &changed
        };
        match &self.to {
            To::Lines(sink) if self.is_json => sink.write(&lines::json(columns)),
            To::Lines(sink) => sink.write(&lines::text(columns)),
            To::Collector(exporter) => exporter.send(Item::Log(Box::new(log_record(columns, place)))),
        }
    }
}

fn record(source: &str) -> Result<Expression, String> {
    Expression::compile_for(source, Scope::Record).map_err(|error| error.to_string())
}

fn named(field: &str, all: &[v1::NamedExpression]) -> Result<Box<[(Arc<str>, Expression)]>, String> {
    let one = |named: &v1::NamedExpression| {
        let expression = record(&named.expression).map_err(|error| format!("{field}.{}: {error}", named.name))?;
        Ok((named.name.as_str().into(), expression))
    };
    all.iter().map(one).collect()
}

/// Those that have a value.
fn evaluate(expressions: &[(Arc<str>, Expression)], input: Option<&HttpInput<'_>>) -> Vec<Column> {
    let Some(input) = input else { return Vec::new() };
    let value = |(name, expression): &(Arc<str>, Expression)| {
        let value = match expression.evaluate_value(input).ok()? {
            Value::Null => return None,
            Value::String(text) => FieldValue::from(text),
            Value::Bool(value) => value.into(),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => whole.into(),
                (None, float) => float?.into(),
            },
            other => other.to_string().into(),
        };
        Some((name.to_string().into(), value))
    };
    expressions.iter().filter_map(value).collect()
}

impl RequestContext {
    /// Keeps the head as it is, for expressions that look at it when the response has been sent.
    pub fn remember(&mut self, head: &Parts) {
        self.request.get_or_insert_with(|| crate::context::Remembered::of(head));
    }

    /// What expressions see afterwards.
    pub fn witness(&self, response: &response::Parts) -> Witness {
        let (mut copy, ()) = http::Response::new(()).into_parts();
        (copy.status, copy.headers) = (response.status, response.headers.clone());
        Witness { request: self.seen_before(), response: copy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::context;

    fn expression(name: &str, expression: &str) -> v1::NamedExpression {
        v1::NamedExpression { name: name.into(), expression: expression.into() }
    }

    fn head(headers: &[(&'static str, &str)]) -> Parts {
        let mut request = http::Request::get("http://a.example/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn collector() -> Option<v1::OpenTelemetry> {
        Some(v1::OpenTelemetry { backend_key: "b".into(), ..v1::OpenTelemetry::default() })
    }

    fn observers(observer: Result<Observer, String>) -> Observers {
        let mut observers = Observers::default();
        assert!(observers.add(observer.expect("compiles")));
        observers
    }

    fn sampled(spec: v1::Tracing, headers: &[(&'static str, &str)], draw: u64) -> bool {
        let state = State::new();
        let observers = observers(Observers::compile_tracing(&spec, &state));
        let telemetry = RequestTelemetry::on();
        observers.begin(&head(headers), &context(), &telemetry, &|_| draw);
        telemetry.end_trace().expect("has a place").0.own.sampled
    }

    #[test]
    fn clients_and_chance_and_filters_decide_what_is_traced() {
        let spec = |change: fn(&mut v1::Tracing)| {
            let mut spec = v1::Tracing { open_telemetry: collector(), ..v1::Tracing::default() };
            change(&mut spec);
            spec
        };
        const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        const NOT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let (yes, no, none) = ([("traceparent", SAMPLED)], [("traceparent", NOT)], []);
        assert!(sampled(spec(|_| ()), &none, 999_999) && sampled(spec(|_| ()), &yes, 999_999));
        assert!(!sampled(spec(|_| ()), &no, 0), "whoever began the trace does not want it");
        assert!(sampled(spec(|s| s.restart = true), &no, 0));
        assert!(sampled(spec(|s| s.random_sampling = Some(10.0)), &none, 99_999));
        assert!(!sampled(spec(|s| s.random_sampling = Some(10.0)), &none, 100_000));
        assert!(sampled(spec(|s| s.random_sampling = Some(0.0)), &yes, 0));
        assert!(!sampled(spec(|s| s.client_sampling = Some(0.0)), &yes, 0));
        assert!(!sampled(spec(|s| s.overall_sampling = Some(0.001)), &yes, 10));
        assert!(!sampled(spec(|s| s.filter = "request.path == '/y'".into()), &none, 0));
        assert!(sampled(spec(|s| s.filter = "request.path == '/x'".into()), &none, 0));
        assert!(!sampled(spec(|s| s.filter = "request.headers.absent == 'x'".into()), &none, 0), "an error is no yes");
    }

    #[test]
    fn errors_name_the_log_that_they_are_of() {
        let log = |filter: &str| {
            let sink = collector().map(access_log::Sink::OpenTelemetry);
            v1::AccessLog { filter: filter.into(), sink, ..v1::AccessLog::default() }
        };
        let logs = v1::AccessLogs { logs: vec![log("response.code == 200"), log("response.cod == 200")] };
        let error = Observers::compile_logs(&logs, &State::new()).err().expect("is refused");
        assert!(error.starts_with("accessLog[1].filter: "), "{error}");
    }

    #[test]
    fn a_log_has_the_columns_that_its_policy_says() {
        let path = std::env::temp_dir().join(format!("agentgateway-observe-{}.log", std::process::id()));
        let state = State::new();
        let logs = v1::AccessLogs {
            logs: vec![v1::AccessLog {
                format: access_log::Format::Json.into(),
                filter: "response.code >= 500 && fields.duration_ms > 1.0".into(),
                add: vec![
                    expression("agent", "request.headers['user-agent']"),
                    expression("user", "jwt.sub"),
                    expression("status", "string(response.code)"),
                    expression("list", "[1, 2]"),
                ],
                remove: vec!["host".into()],
                sink: Some(access_log::Sink::File(path.display().to_string())),
            }],
        };
        let observers = observers(Observers::compile_logs(&logs, &state));
        assert!(observers.looks_back() && observers.has_logs() && !observers.traces());
        let mut context = context();
        context.remember(&head(&[("user-agent", "test")]));
        for status in [200_u16, 503] {
            let (mut response, ()) = http::Response::new(()).into_parts();
            response.status = http::StatusCode::from_u16(status).expect("a status");
            let columns: Vec<Column> = vec![
                ("host".into(), "h".into()),
                ("status".into(), i64::from(status).into()),
                ("duration_ms".into(), 2.5.into()),
            ];
            let witness = context.witness(&response);
            let told = Told { columns: &columns, witness: Some(&witness), trace: None, counted: Counted::default() };
            observers.tell(told);
        }
        drop((observers, state));
        let expected = r#"{"agent":"test","duration_ms":2.5,"list":"[1,2]","status":"503"}"#;
        for _ in 0..500 {
            if std::fs::read_to_string(&path).is_ok_and(|text| text.trim_end() == expected) {
                std::fs::remove_file(&path).expect("removes");
                return;
            }
            #[allow(clippy::disallowed_methods, reason = "no runtime runs here")]
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{:?}", std::fs::read_to_string(&path));
    }

    #[test]
    fn what_does_not_compile_is_named() {
        let state = State::new();
        let failed = |observer: Result<Observer, String>| observer.err().expect("does not compile");
        let log = v1::AccessLog { filter: "nothing.here".into(), ..v1::AccessLog::default() };
        assert!(
            failed(Observers::compile_logs(&v1::AccessLogs { logs: vec![log] }, &state))
                .starts_with("accessLog[0].filter: ")
        );
        let tracing = v1::Tracing {
            open_telemetry: collector(),
            attributes: vec![expression("a", "response.body")],
            ..v1::Tracing::default()
        };
        assert!(failed(Observers::compile_tracing(&tracing, &state)).starts_with("attributes.a: "));
        let label = v1::MetricLabel { name: "t".into(), expression: "(".into(), max_values: 0 };
        let metrics = v1::Metrics { labels: vec![label] };
        assert!(failed(Observers::compile_metrics(&metrics, "k", &state)).starts_with("label t: "));
    }
}
