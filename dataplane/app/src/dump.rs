//! The configuration in force as JSON, in the form that users know. No secret is in it: private keys, values of headers, the
//! environment and arguments of commands are left out, since credentials are passed in them.

mod limits;
mod llm;
mod observability;
mod resilience;
mod streams;

use std::collections::BTreeMap;
use std::sync::Arc;

use agentgateway_pipeline::snapshot::Snapshot;
use agentgateway_pipeline::store::Routes as CompiledRoutes;
use agentgateway_policy::Chain;
use agentgateway_proto::key;
use agentgateway_proto::resource::Resource;
use agentgateway_proto::v1;
use agentgateway_upstream::balancer::BalancerReport;
use serde_json::{Map, Value, json};

/// All resources as one document.
pub(crate) fn dump(
    resources: &[Arc<Resource>],
    snapshot: &Snapshot,
    compiled: &CompiledRoutes,
    balancers: &[BalancerReport],
) -> Value {
    let in_force = InForce { snapshot, compiled };
    let mut routes: BTreeMap<&str, Routes<'_>> = BTreeMap::new();
    let mut listeners: BTreeMap<&str, Vec<&v1::Listener>> = BTreeMap::new();
    let mut endpoints: BTreeMap<&str, Vec<&v1::Endpoint>> = BTreeMap::new();
    for resource in resources {
        match resource.as_ref() {
            Resource::Route(r) => routes.entry(&r.listener_key).or_default().http.push(r),
            Resource::TcpRoute(r) => routes.entry(&r.listener_key).or_default().tcp.push(r),
            Resource::UdpRoute(r) => routes.entry(&r.listener_key).or_default().udp.push(r),
            Resource::Listener(l) => listeners.entry(&l.bind_key).or_default().push(l),
            Resource::Endpoint(e) => endpoints.entry(&e.backend_key).or_default().push(e),
            _ => {}
        }
    }
    let (mut binds, mut backends, mut policies) = (Vec::new(), Vec::new(), Vec::new());
    for resource in resources {
        match resource.as_ref() {
            Resource::Bind(b) => {
                let of_bind = listeners.get(b.key.as_str()).map_or(&[][..], Vec::as_slice);
                binds.push(bind(b, of_bind, &routes, &in_force));
            }
            Resource::Backend(b) => {
                let balanced = balancers.iter().find(|report| report.key == b.key);
                backends.push(backend(b, endpoints.get(b.key.as_str()).map_or(&[][..], Vec::as_slice), balanced));
            }
            Resource::Policy(p) => policies.push(policy(p)),
            _ => {}
        }
    }
    json!({ "binds": binds, "backends": backends, "policies": policies, "generation": snapshot.generation })
}

/// What counts of all policies.
struct InForce<'a> {
    snapshot: &'a Snapshot,
    compiled: &'a CompiledRoutes,
}

impl InForce<'_> {
    /// The policies that a request to this route meets, in their order; None where it has none.
    fn of_route(&self, key: &str) -> Option<Value> {
        let (listener, route) = self.compiled.get(key)?;
        listed(&[("listener", listener), ("route", &route.policies)])
    }

    /// Those that one to the `at`th backend of the route meets after them.
    fn of_backend(&self, key: &str, at: usize) -> Option<Value> {
        let (_, route) = self.compiled.get(key)?;
        let share = route.backends.get(at)?;
        let backend = share.backend.as_ref().and_then(|key| self.snapshot.backends.get(key));
        match backend {
            Some(backend) => listed(&[("reference", &share.policies), ("backend", &backend.policies)]),
            None => listed(&[("reference", &share.policies)]),
        }
    }
}

fn listed(chains: &[(&str, &Arc<Chain>)]) -> Option<Value> {
    let one = |(level, chain): &(&str, &Arc<Chain>)| {
        let level = (*level).to_owned();
        let of = |p: &agentgateway_policy::InForce| json!({ "policy": p.policy, "from": &*p.source, "level": level });
        chain.in_force().iter().map(of).collect::<Vec<_>>()
    };
    let all: Vec<Value> = chains.iter().flat_map(one).collect();
    (!all.is_empty()).then(|| all.into())
}

/// The routes of a listener.
#[derive(Default)]
struct Routes<'r> {
    http: Vec<&'r v1::Route>,
    tcp: Vec<&'r v1::TcpRoute>,
    udp: Vec<&'r v1::UdpRoute>,
}

fn bind(
    bind: &v1::Bind,
    listeners: &[&v1::Listener],
    routes: &BTreeMap<&str, Routes<'_>>,
    in_force: &InForce<'_>,
) -> Value {
    let none = Routes::default();
    let listeners: Map<String, Value> = listeners
        .iter()
        .map(|l| (key::print_listener(l), listener(l, routes.get(l.key.as_str()).unwrap_or(&none), in_force)))
        .collect();
    let address = if bind.address.contains(':') { format!("[{}]", bind.address) } else { bind.address.clone() };
    let mut out = json!({
        "key": key::print_bind(bind),
        "address": format!("{address}:{}", bind.port),
        "listeners": listeners,
    });
    if bind.transport() == v1::bind::Transport::Udp {
        out["transport"] = bind.transport().as_str_name().into();
    }
    if bind.proxy_protocol() != v1::bind::ProxyProtocol::Off {
        out["proxyProtocol"] = bind.proxy_protocol().as_str_name().to_ascii_lowercase().into();
    }
    if let Some(limits) = &bind.limits {
        out["limits"] = json!({
            "maxConnections": limits.max_connections,
            "maxConnectionsPerClient": limits.max_connections_per_client,
            "maxRequests": limits.max_requests,
            "maxLagMilliseconds": limits.max_lag_milliseconds,
        });
    }
    out
}

fn listener(listener: &v1::Listener, routes: &Routes<'_>, in_force: &InForce<'_>) -> Value {
    let name = &listener.name;
    let http: Map<String, Value> =
        routes.http.iter().map(|r| (key::print_route(r, name), route(r, name, in_force))).collect();
    let tcp: Map<String, Value> = routes.tcp.iter().map(|r| streams::tcp_route(r, name)).collect();
    let mut out = json!({
        "key": key::print_listener(listener),
        "name": listener.name,
        "gatewayName": key::print_object(listener.gateway.as_ref()),
        "hostname": listener.hostname,
        "protocol": match listener.protocol() {
            v1::listener::Protocol::Unspecified => "",
            known => known.as_str_name(),
        },
        "routes": http,
        "tcpRoutes": tcp,
    });
    if !routes.udp.is_empty() {
        out["udpRoutes"] = routes.udp.iter().map(|r| streams::udp_route(r, name)).collect::<Map<_, _>>().into();
    }
    if let Some(tls) = &listener.tls {
        out["tls"] = streams::server_tls(tls);
    }
    out
}

fn route(route: &v1::Route, listener: &str, in_force: &InForce<'_>) -> Value {
    let backend = |(at, backend)| route_backend(backend, in_force.of_backend(&route.key, at));
    let mut out = json!({
        "key": key::print_route(route, listener),
        "routeName": key::print_object(route.source.as_ref()),
        "matches": [route_match(route.r#match.as_ref())],
        "backends": route.backends.iter().enumerate().map(backend).collect::<Vec<_>>(),
    });
    if let Some(fields) = out.as_object_mut() {
        if !route.rule_name.is_empty() {
            fields.insert("ruleName".into(), route.rule_name.clone().into());
        }
        if !route.hostnames.is_empty() {
            fields.insert("hostnames".into(), json!(route.hostnames));
        }
        if !route.inline_policies.is_empty() {
            fields.insert("policies".into(), route.inline_policies.iter().map(spec).collect());
        }
        if let Some(chain) = in_force.of_route(&route.key) {
            fields.insert("chain".into(), chain);
        }
    }
    out
}

fn route_match(matched: Option<&v1::RouteMatch>) -> Value {
    use v1::route_match::Path;
    let mut out = Map::new();
    let path = match matched.and_then(|m| m.path.as_ref()) {
        Some(Path::Exact(p)) => json!({ "exact": p }),
        Some(Path::Prefix(p)) => json!({ "pathPrefix": p }),
        Some(Path::Regex(p)) => json!({ "regex": p }),
        None => json!({ "pathPrefix": "/" }),
    };
    out.insert("path".into(), path);
    if let Some(matched) = matched {
        if !matched.method.is_empty() {
            out.insert("method".into(), matched.method.clone().into());
        }
        for (name, all) in [("headers", &matched.headers), ("query", &matched.query)] {
            if !all.is_empty() {
                out.insert(name.into(), all.iter().map(keyed_match).collect());
            }
        }
    }
    out.into()
}

fn keyed_match(keyed: &v1::KeyedMatch) -> Value {
    match &keyed.value {
        Some(v1::keyed_match::Value::Regex(regex)) => json!({ "name": keyed.name, "value": { "regex": regex } }),
        Some(v1::keyed_match::Value::Exact(exact)) => json!({ "name": keyed.name, "value": { "exact": exact } }),
        None => json!({ "name": keyed.name }),
    }
}

fn route_backend(backend: &v1::RouteBackend, chain: Option<Value>) -> Value {
    let mut out = json!({ "weight": backend.weight });
    if let Some(fields) = out.as_object_mut() {
        if backend.backend_key.is_empty() {
            fields.insert("invalid".into(), true.into());
        } else {
            fields.insert("backend".into(), key::print_backend_key(&backend.backend_key).into());
        }
        if !backend.inline_policies.is_empty() {
            fields.insert("policies".into(), backend.inline_policies.iter().map(spec).collect());
        }
        if let Some(chain) = chain {
            fields.insert("chain".into(), chain);
        }
    }
    out
}

fn backend(backend: &v1::Backend, endpoints: &[&v1::Endpoint], balanced: Option<&BalancerReport>) -> Value {
    use v1::backend::Kind;
    let name = key::print_backend(backend);
    let (kind, mut out) = match &backend.kind {
        Some(Kind::Host(host)) => {
            let hosts: Vec<String> = host.hosts.iter().map(|h| format!("{}:{}", h.host, h.port)).collect();
            match hosts.as_slice() {
                [one] => ("host", json!({ "name": name, "target": one })),
                all => ("host", json!({ "name": name, "targets": all })),
            }
        }
        Some(Kind::Service(service)) => (
            "service",
            json!({
                "name": name,
                "target": service.authority,
                "endpoints": endpoints.iter().map(|e| format!("{}:{}", e.address, e.port)).collect::<Vec<_>>(),
            }),
        ),
        Some(Kind::Mcp(mcp)) => (
            "mcp",
            json!({
                "name": name,
                "target": { "targets": mcp.targets.iter().map(mcp_target).collect::<Vec<_>>(), "stateful": true },
            }),
        ),
        Some(Kind::Llm(llm)) => ("ai", json!({ "name": name, "target": llm::backend(llm) })),
        Some(Kind::Inference(pool)) => {
            ("inference", json!({ "name": name, "target": key::print_backend_key(&pool.backend_key) }))
        }
        None => ("unknown", json!({ "name": name })),
    };
    if let Some(a2a) = &backend.a2a {
        out["a2a"] = json!({ "idempotentMessages": a2a.idempotent_messages });
        if !a2a.public_url.is_empty() {
            out["a2a"]["publicURL"] = a2a.public_url.as_str().into();
        }
    }
    if let Some(tls) = &backend.tls {
        out["tls"] = streams::backend_tls(tls);
    }
    if !backend.inline_policies.is_empty() {
        out["policies"] = backend.inline_policies.iter().map(spec).collect();
    }
    if let Some(balanced) = balanced {
        out["balancer"] = resilience::balancer(balanced);
    }
    json!({ kind: out })
}

fn mcp_target(target: &v1::McpTarget) -> Value {
    use v1::mcp_target::Transport;
    let mut out = match &target.transport {
        Some(Transport::Http(http)) => {
            let kind = match http.protocol() {
                v1::mcp_http::Protocol::Sse => "sse",
                _ => "mcp",
            };
            json!({
                "name": target.name,
                kind: { "backend": { "backend": key::print_backend_key(&http.backend_key) }, "path": http.path },
            })
        }
        Some(Transport::Stdio(stdio)) => json!({ "name": target.name, "stdio": { "cmd": stdio.command } }),
        Some(Transport::Openapi(openapi)) => {
            let backend = key::print_backend_key(&openapi.backend_key);
            json!({ "name": target.name, "openapi": { "backend": { "backend": backend }, "path": openapi.path } })
        }
        None => json!({ "name": target.name }),
    };
    if let Some(milliseconds) = target.connect_timeout_milliseconds {
        out["connectTimeoutMilliseconds"] = milliseconds.into();
    }
    if let Some(milliseconds) = target.request_timeout_milliseconds {
        out["requestTimeoutMilliseconds"] = milliseconds.into();
    }
    if let Some(breaker) = &target.circuit_breaker {
        out["circuitBreaker"] = json!({
            "consecutiveFailures": breaker.consecutive_failures,
            "durationMilliseconds": breaker.duration_milliseconds,
        });
    }
    out
}

fn policy(policy: &v1::Policy) -> Value {
    use v1::policy::Target;
    let target = match &policy.target {
        Some(Target::Gateway(gateway)) => json!({ "gateway": gateway }),
        Some(Target::ListenerKey(listener)) => json!({ "listener": listener }),
        Some(Target::Route(route)) => {
            json!({ "route": format!("{}/{}", route.namespace, route.name), "rule": route.rule_name })
        }
        Some(Target::BackendKey(backend)) => json!({ "backend": key::print_backend_key(backend) }),
        None => Value::Null,
    };
    json!({
        "key": policy.key,
        "source": format!("{} {}/{}", policy.source_kind, policy.source_namespace, policy.source_name),
        "target": target,
        "policy": policy.spec.as_ref().map(spec),
    })
}

fn spec(spec: &v1::PolicySpec) -> Value {
    use v1::policy_spec::Kind;
    match &spec.kind {
        Some(Kind::Deny(deny)) => json!({ "deny": { "reason": deny.reason, "policy": deny.policy } }),
        Some(Kind::Cors(cors)) => json!({ "cors": {
            "allowOrigins": cors.allow_origins,
            "allowCredentials": cors.allow_credentials,
            "allowMethods": cors.allow_methods,
            "allowHeaders": cors.allow_headers,
            "exposeHeaders": cors.expose_headers,
            "maxAge": cors.max_age_seconds,
        } }),
        Some(Kind::Jwt(jwt)) => json!({ "jwtAuth": {
            "mode": jwt.mode().as_str_name().to_ascii_lowercase(),
            "providers": jwt.providers.iter().map(|p| json!({
                "issuer": p.issuer,
                "audiences": p.audiences,
                "url": p.remote_jwks.as_ref().map(|remote| &remote.url),
            })).collect::<Vec<_>>(),
        } }),
        Some(Kind::ApiKey(keys)) => json!({ "apiKey": {
            "mode": keys.mode().as_str_name().to_ascii_lowercase(),
            "keys": keys.keys.iter().map(|key| &key.name).collect::<Vec<_>>(),
        } }),
        Some(Kind::BasicAuth(basic)) => json!({ "basicAuth": {
            "mode": basic.mode().as_str_name().to_ascii_lowercase(),
            "users": basic.users.iter().map(|user| &user.name).collect::<Vec<_>>(),
        } }),
        Some(Kind::DirectResponse(response)) => json!({ "directResponse": { "status": response.status_code } }),
        Some(Kind::FaultInjection(f)) => json!({ "faultInjection": {
            "delay": f.delay.map(|d| json!({ "milliseconds": d.milliseconds, "percentage": d.percent })),
            "abort": f.abort.map(|a| json!({ "httpStatus": a.status_code, "percentage": a.percent })),
        } }),
        Some(Kind::Csrf(csrf)) => json!({ "csrf": {
            "percentageEnabled": csrf.percent_enabled,
            "percentageShadowed": csrf.percent_shadowed,
            "additionalOrigins": csrf.additional_origins.len(),
        } }),
        Some(Kind::RequestBuffer(buffer)) => json!({ "buffer": { "maxBytes": buffer.max_bytes } }),
        Some(Kind::Transformation(t)) => json!({ "transformation": {
            "request": transformed(t.request.as_ref()),
            "response": transformed(t.response.as_ref()),
        } }),
        Some(Kind::AccessLogs(_) | Kind::Tracing(_) | Kind::Metrics(_)) => observability::print(spec),
        Some(Kind::AutoHostRewrite(_)) => json!({ "autoHostRewrite": true }),
        Some(Kind::Authorization(rules)) => json!({ "authorization": authorization(rules) }),
        Some(Kind::McpAuthorization(rules)) => json!({ "mcpAuthorization": authorization(rules) }),
        Some(Kind::A2aAuthorization(rules)) => json!({ "a2aAuthorization": authorization(rules) }),
        Some(
            Kind::LocalRateLimit(_) | Kind::GlobalRateLimit(_) | Kind::ConcurrencyLimit(_) | Kind::RequestLimits(_),
        ) => limits::print(spec),
        Some(Kind::BackendAuth(auth)) => match &auth.kind {
            Some(v1::backend_authentication::Kind::Passthrough(_)) => json!({ "backendAuth": { "passthrough": {} } }),
            Some(v1::backend_authentication::Kind::Key(key)) => {
                json!({ "backendAuth": { "key": { "header": key.header } } })
            }
            Some(v1::backend_authentication::Kind::Aws(aws)) => {
                json!({ "backendAuth": { "aws": { "region": aws.region, "service": aws.service } } })
            }
            None => json!({ "backendAuth": {} }),
        },
        Some(Kind::RequestHeaderModifier(m)) => json!({ "requestHeaderModifier": modifier(m) }),
        Some(Kind::ResponseHeaderModifier(m)) => json!({ "responseHeaderModifier": modifier(m) }),
        Some(Kind::UrlRewrite(r)) => json!({ "urlRewrite": { "hostname": r.hostname, "path": path(r.path.as_ref()) } }),
        Some(Kind::RequestRedirect(r)) => json!({ "requestRedirect": {
            "scheme": r.scheme,
            "hostname": r.hostname,
            "path": path(r.path.as_ref()),
            "port": r.port,
            "statusCode": r.status_code,
        } }),
        Some(Kind::RequestMirror(m)) => json!({ "requestMirror": {
            "backend": key::print_backend_key(&m.backend_key),
            "numerator": m.numerator,
            "denominator": m.denominator,
        } }),
        Some(Kind::Timeouts(t)) => json!({ "timeout": {
            "requestMilliseconds": t.request_milliseconds,
            "backendRequestMilliseconds": t.backend_request_milliseconds,
            "streamIdleMilliseconds": t.stream_idle_milliseconds,
        } }),
        Some(Kind::Retry(r)) => json!({ "retry": {
            "attempts": r.attempts,
            "codes": r.status_codes,
            "backoffMilliseconds": r.backoff_milliseconds,
        } }),
        Some(Kind::SessionPersistence(s)) => json!({ "sessionPersistence": {
            "sessionName": s.session_name,
            "type": s.r#type().as_str_name(),
        } }),
        Some(Kind::ExternalAuthorization(e)) => json!({ "extAuthz": {
            "backend": key::print_backend_key(&e.backend_key),
            "failOpen": e.fail_open,
            "cached": e.cache.is_some(),
        } }),
        Some(Kind::ExternalProcessing(e)) => json!({ "extProc": {
            "backend": key::print_backend_key(&e.backend_key),
            "failOpen": e.fail_open,
            "observability": e.observability,
        } }),
        Some(
            Kind::OutlierDetection(_)
            | Kind::CircuitBreakers(_)
            | Kind::RetryConstraint(_)
            | Kind::LoadBalancer(_)
            | Kind::HealthCheck(_)
            | Kind::BackendConnection(_),
        ) => resilience::spec(spec),
        Some(Kind::BackendClientCertificate(_)) => json!({ "backendClientCertificate": {} }),
        None => json!({ "unknown": {} }),
    }
}

fn authorization(rules: &v1::Authorization) -> Value {
    json!({ "allow": rules.allow, "deny": rules.deny, "require": rules.require })
}

/// Without the expressions, in which credentials may be written.
fn transformed(message: Option<&v1::transformation::Message>) -> Value {
    let names = |headers: &[v1::Header]| headers.iter().map(|h| h.name.clone()).collect::<Vec<_>>();
    let Some(message) = message else { return Value::Null };
    json!({
        "set": names(&message.set),
        "add": names(&message.add),
        "remove": message.remove,
        "body": !message.body.is_empty(),
    })
}

fn modifier(modifier: &v1::HeaderModifier) -> Value {
    let names = |headers: &[v1::Header]| headers.iter().map(|h| h.name.clone()).collect::<Vec<_>>();
    json!({ "set": names(&modifier.set), "add": names(&modifier.add), "remove": modifier.remove })
}

fn path(path: Option<&v1::PathModifier>) -> Value {
    use v1::path_modifier::Kind;
    match path.and_then(|p| p.kind.as_ref()) {
        Some(Kind::ReplaceFull(full)) => json!({ "replaceFullPath": full }),
        Some(Kind::ReplacePrefix(prefix)) => json!({ "replacePrefixMatch": prefix }),
        None => Value::Null,
    }
}
