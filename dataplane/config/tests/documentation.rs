//! Every complete configuration in the documentation loads without a warning, and every field is documented.

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

use agentgateway_config::{Environment, parse, schema};
use serde_json::Value;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder).expect("the documentation") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            pages.extend(self::pages(&path));
        } else if path.extension().is_some_and(|e| e == "md") {
            pages.push(path);
        }
    }
    pages
}

/// Blocks that begin with "```yaml complete", with the line of the page on which each begins.
fn complete_blocks(text: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.trim() == "```yaml complete" {
            let block: Vec<&str> = lines.by_ref().map(|(_, l)| l).take_while(|l| l.trim() != "```").collect();
            blocks.push((number + 1, block.join("\n") + "\n"));
        }
    }
    blocks
}

#[test]
fn every_complete_configuration_loads_without_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("keys")).expect("made");
    let key = include_str!("../../../crds/convert/testdata/rsa.pub.pem");
    fs::write(folder.path().join("keys/issuer.pem"), key).expect("written");
    fs::create_dir(folder.path().join("certs")).expect("made");
    let made = rcgen::generate_simple_self_signed(vec!["example.com".to_owned()]).expect("a certificate");
    for (name, text) in
        [("tls.crt", made.cert.pem()), ("ca.crt", made.cert.pem()), ("tls.key", made.signing_key.serialize_pem())]
    {
        fs::write(folder.path().join("certs").join(name), text).expect("written");
    }
    let environment = Environment::of(
        folder.path(),
        &[
            ("GITHUB_TOKEN", "token"),
            ("OPENAI_API_KEY", "key"),
            ("AZURE_API_KEY", "key"),
            ("GROQ_API_KEY", "key"),
            ("INDEXER_KEY", "0123456789abcdef"),
            ("AWS_KEY_ID", "id"),
            ("AWS_SECRET", "secret"),
        ],
    );
    let mut loaded = 0;
    for page in pages(&docs()) {
        let text = fs::read_to_string(&page).expect("a page");
        for (line, block) in complete_blocks(&text) {
            let name = format!("{} line {line}", page.display());
            let found = parse(block.as_bytes(), &name, &environment).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(found.warnings, [], "{name}");
            loaded += 1;
        }
    }
    assert!(loaded >= 12, "only {loaded} configurations found");
}

#[test]
fn every_policy_has_a_page_with_an_example_and_its_fields() {
    let schema = schema();
    let policies = docs().join("policies");
    let overview = fs::read_to_string(policies.join("README.md")).expect("the overview");
    for (field, page, definition) in [
        ("cors", "cors.md", "Cors"),
        ("jwtAuth", "jwt-auth.md", "JwtAuth"),
        ("jwtAuth", "jwt-auth.md", "KeySet"),
        ("apiKey", "api-key-auth.md", "ApiKeyAuth"),
        ("apiKey", "api-key-auth.md", "ApiKey"),
        ("basicAuth", "basic-auth.md", "BasicAuth"),
        ("directResponse", "direct-response.md", "DirectResponse"),
        ("csrf", "csrf.md", "Csrf"),
        ("csrf", "csrf.md", "StringMatcher"),
        ("buffer", "buffer.md", "Buffer"),
        ("transformation", "transformation.md", "Transformation"),
        ("transformation", "transformation.md", "MessageTransformation"),
        ("transformation", "transformation.md", "BodyTransformation"),
        ("authorization", "authorization.md", "Authorization"),
        ("mcpAuthorization", "mcp-authorization.md", "Authorization"),
        ("a2aAuthorization", "a2a-authorization.md", "Authorization"),
        ("localRateLimit", "rate-limit.md", "TokenBucket"),
        ("rateLimit", "rate-limit.md", "LocalRateLimit"),
        ("rateLimit", "rate-limit.md", "GlobalRateLimit"),
        ("rateLimit", "rate-limit.md", "EnvoyRateLimit"),
        ("rateLimit", "rate-limit.md", "RateLimitDescriptor"),
        ("rateLimit", "rate-limit.md", "RedisRateLimit"),
        ("concurrencyLimit", "concurrency-limit.md", "ConcurrencyLimit"),
        ("requestLimits", "request-limits.md", "RequestLimits"),
        ("requestHeaderModifier", "header-modifiers.md", "HeaderModifier"),
        ("responseHeaderModifier", "header-modifiers.md", "HeaderModifier"),
        ("urlRewrite", "url-rewrite.md", "UrlRewrite"),
        ("requestRedirect", "request-redirect.md", "RequestRedirect"),
        ("backendAuth", "backend-auth.md", "BackendAuth"),
        ("backendAuth", "backend-auth.md", "BackendKey"),
        ("backendAuth", "backend-auth.md", "AwsAuth"),
        ("timeout", "timeouts.md", "Timeout"),
        ("retry", "retries.md", "Retry"),
        ("requestMirror", "mirrors.md", "RequestMirror"),
        ("requestMirrors", "mirrors.md", "RequestMirror"),
        ("sessionPersistence", "session-persistence.md", "SessionPersistence"),
        ("extAuthz", "ext-authz.md", "ExtAuthz"),
        ("extAuthz", "ext-authz.md", "GrpcExtAuthz"),
        ("extAuthz", "ext-authz.md", "HttpExtAuthz"),
        ("extAuthz", "ext-authz.md", "DecisionCache"),
        ("extProc", "ext-proc.md", "ExtProc"),
        ("extProc", "ext-proc.md", "ProcessingMode"),
        ("extProc", "ext-proc.md", "MutationRules"),
        ("accessLog", "access-log.md", "AccessLog"),
        ("accessLog", "access-log.md", "OpenTelemetry"),
        ("accessLog", "access-log.md", "CollectorHost"),
        ("tracing", "tracing.md", "Tracing"),
        ("metrics", "metrics.md", "Metrics"),
        ("metrics", "metrics.md", "MetricLabel"),
        ("backendTLS", "backend-tls.md", "BackendTls"),
        ("faultInjection", "fault-injection.md", "FaultInjection"),
        ("outlierDetection", "outlier-detection.md", "OutlierDetection"),
        ("circuitBreakers", "circuit-breakers.md", "CircuitBreakers"),
        ("retryConstraint", "circuit-breakers.md", "RetryConstraint"),
        ("loadBalancer", "load-balancer.md", "LoadBalancer"),
        ("loadBalancer", "load-balancer.md", "SlowStart"),
        ("loadBalancer", "load-balancer.md", "HashPolicy"),
        ("healthCheck", "health-check.md", "HealthCheck"),
        ("connection", "connection.md", "BackendConnection"),
    ] {
        let text = fs::read_to_string(policies.join(page)).unwrap_or_else(|e| panic!("{page}: {e}"));
        assert!(
            overview.contains(&format!("({page})")) && overview.contains(&format!("`{field}`")),
            "{field} in the overview"
        );
        let examples: String = complete_blocks(&text).into_iter().map(|(_, block)| block).collect();
        assert!(examples.contains(&format!("{field}:")), "{page} has no example of {field}");
        for name in properties(&schema, definition) {
            let written = [format!("`{name}`"), format!("`{name}."), format!(".{name}`")];
            assert!(written.iter().any(|written| text.contains(written)), "{page} does not name {name}");
        }
    }
    assert!(overview.contains("`autoHostRewrite`"));
    let documented = 32;
    assert_eq!(properties(&schema, "RoutePolicies").len(), documented, "a policy without a page");
}

#[test]
fn the_page_of_the_file_names_every_field() {
    let schema = schema();
    let text = fs::read_to_string(docs().join("configuration.md")).expect("the page");
    for definition in [
        "Bind",
        "Listener",
        "Route",
        "RouteMatch",
        "PathMatch",
        "RouteBackend",
        "McpTarget",
        "Stdio",
        "McpAddress",
        "ProcessConfig",
        "Logging",
        "Drain",
    ] {
        for name in properties(&schema, definition) {
            assert!(text.contains(&format!("`{name}`")), "{definition}.{name}");
        }
    }
}

#[test]
fn the_page_of_listeners_names_every_field() {
    let schema = schema();
    let text = fs::read_to_string(docs().join("listeners.md")).expect("the page");
    for definition in
        ["ListenerTls", "CertificateFiles", "TcpRoute", "TcpBackend", "UdpRoute", "UdpBackend", "BindLimits"]
    {
        for name in properties(&schema, definition) {
            assert!(text.contains(&format!("`{name}`")), "{definition}.{name}");
        }
    }
}

fn properties(schema: &Value, definition: &str) -> Vec<String> {
    let properties = schema["$defs"][definition]["properties"].as_object();
    let properties = properties.unwrap_or_else(|| panic!("no definition {definition}"));
    properties.keys().cloned().collect()
}
