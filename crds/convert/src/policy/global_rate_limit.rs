//! Rate limits that all proxies share.

use agentgateway_proto::v1::{self, global_rate_limit as global, policy_spec::Kind};
use agentgateway_types::policy::{
    EnvoyRateLimit, GlobalRateLimit, RateLimitDescriptor, RateLimitEntry, RateLimitEntryType, RateLimitHeaders,
    RateLimitUnit, RedisRateLimit, TextSource, TokenBucket,
};
use agentgateway_types::{Duration, Path};

use super::rate_limit::{token_bucket, unit};
use super::{Lookup, spec};
use crate::check;
use crate::error::{Error, Within};

/// How the service is asked, whatever it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asking {
    /// How long an answer may take.
    pub timeout: Option<Duration>,
    /// Whether requests pass when it cannot be asked.
    pub fail_open: bool,
    /// Whether every response says how much is left.
    pub headers: RateLimitHeaders,
}

/// A limit that all proxies share, as the YAML file writes it.
pub fn global_rate_limit(policy: &GlobalRateLimit, lookup: &mut dyn Lookup) -> Result<v1::PolicySpec, Error> {
    let asking = Asking {
        timeout: policy.timeout,
        fail_open: policy.fail_open.unwrap_or(false),
        headers: policy.x_rate_limit_headers.unwrap_or_default(),
    };
    match (&policy.envoy, &policy.redis) {
        (Some(config), None) => envoy_of_file(config, asking, lookup).within(|| Path::of("envoy")),
        (None, Some(config)) => redis_of_file(config, asking, lookup).within(|| Path::of("redis")),
        _ => Err(Error::NotOne { path: Path::root(), members: "envoy and redis" }),
    }
}

fn envoy_of_file(config: &EnvoyRateLimit, asking: Asking, lookup: &mut dyn Lookup) -> Result<v1::PolicySpec, Error> {
    let service = envoy(&config.domain, &config.descriptors, String::new())?;
    let hosts = vec![crate::backend::host_port(&config.host).within(|| Path::of("host"))?];
    let host = v1::HostBackend { hosts, version: v1::HttpVersion::H2c.into() };
    let key = lookup.backend(host, config.tls.as_ref())?;
    made(key, global::Service::Envoy(service), asking)
}

fn redis_of_file(config: &RedisRateLimit, asking: Asking, lookup: &mut dyn Lookup) -> Result<v1::PolicySpec, Error> {
    let password = match &config.password {
        Some(source) => text(source, lookup).within(|| Path::of("password"))?,
        None => String::new(),
    };
    let login = (config.username.clone().unwrap_or_default(), password);
    let name = config.name.as_deref().unwrap_or("default");
    let service = redis(name, &config.buckets, login, config.database.unwrap_or(0))?;
    let hosts = vec![crate::backend::host_port(&config.host).within(|| Path::of("host"))?];
    let host = v1::HostBackend { hosts, version: v1::HttpVersion::Unspecified.into() };
    let key = lookup.backend(host, config.tls.as_ref())?;
    made(key, global::Service::Redis(service), asking)
}

fn text(source: &TextSource, lookup: &mut dyn Lookup) -> Result<String, Error> {
    match (&source.file, &source.inline) {
        (Some(path), None) => {
            let at = || Path::of("file");
            let bytes = lookup.file(path).map_err(|reason| Error::invalid(at(), reason))?;
            let text = String::from_utf8(bytes).map_err(|_| Error::invalid(at(), "is not UTF-8"))?;
            Ok(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        (None, Some(text)) => lookup.expand(text).map_err(|reason| Error::invalid(Path::of("inline"), reason)),
        _ => Err(Error::NotOne { path: Path::root(), members: "file and inline" }),
    }
}

/// The policy, for a service at the backend `backend_key`.
pub fn made(backend_key: String, service: global::Service, asking: Asking) -> Result<v1::PolicySpec, Error> {
    if asking.timeout.is_some_and(|timeout| timeout.milliseconds() == 0) {
        return Err(Error::invalid(Path::of("timeout"), "must be more than 0"));
    }
    Ok(spec(Kind::GlobalRateLimit(v1::GlobalRateLimit {
        backend_key,
        service: Some(service),
        timeout_milliseconds: asking.timeout.map(Duration::milliseconds),
        fail_open: asking.fail_open,
        headers: asking.headers == RateLimitHeaders::DraftVersion03,
    })))
}

/// What Envoy's service is asked about.
pub fn envoy(domain: &str, descriptors: &[RateLimitDescriptor], authority: String) -> Result<global::Envoy, Error> {
    if domain.is_empty() {
        return Err(Error::Missing { path: Path::of("domain") });
    }
    if descriptors.is_empty() {
        return Err(Error::Missing { path: Path::of("descriptors") });
    }
    let one = |(i, descriptor)| self::descriptor(descriptor).within(|| Path::of("descriptors").index(i));
    let descriptors = descriptors.iter().enumerate().map(one).collect::<Result<_, _>>()?;
    Ok(global::Envoy { domain: domain.to_owned(), descriptors, authority })
}

/// Buckets in Redis under `name`; `login` is a name and a password, which may be empty.
pub fn redis(
    name: &str,
    buckets: &[TokenBucket],
    (username, password): (String, String),
    database: u16,
) -> Result<global::Redis, Error> {
    if buckets.is_empty() {
        return Err(Error::Missing { path: Path::of("buckets") });
    }
    if !username.is_empty() && password.is_empty() {
        return Err(Error::Missing { path: Path::of("password") });
    }
    let one = |(i, bucket): (usize, &TokenBucket)| {
        let at = || Path::of("buckets").index(i);
        if bucket.max_keys.is_some() {
            return Err(Error::invalid(at().key("maxKeys"), "is for local limits: keys in Redis expire"));
        }
        token_bucket(bucket).within(at)
    };
    let buckets = buckets.iter().enumerate().map(one).collect::<Result<_, _>>()?;
    Ok(global::Redis { buckets, prefix: name.to_owned(), username, password, database: database.into() })
}

fn descriptor(descriptor: &RateLimitDescriptor) -> Result<global::Descriptor, Error> {
    if descriptor.entries.is_empty() {
        return Err(Error::Missing { path: Path::of("entries") });
    }
    let kind = descriptor.unit.unwrap_or_default();
    if descriptor.cost.is_some() && kind == RateLimitUnit::Tokens {
        return Err(Error::invalid(Path::of("cost"), "is for requests: tokens are counted"));
    }
    let one = |(i, entry)| self::entry(entry).within(|| Path::of("entries").index(i));
    Ok(global::Descriptor {
        entries: descriptor.entries.iter().enumerate().map(one).collect::<Result<_, _>>()?,
        unit: unit(kind).into(),
        cost: descriptor.cost.clone().unwrap_or_default(),
    })
}

fn entry(entry: &RateLimitEntry) -> Result<global::Entry, Error> {
    use global::entry::Kind::{Expression, Value};
    let RateLimitEntry { entry_type, generic, header, cel } = entry;
    let (key, kind) = match (entry_type, generic, header, cel) {
        (RateLimitEntryType::Generic, Some(generic), None, None) => (generic.key.clone(), Value(generic.value.clone())),
        (RateLimitEntryType::Header, None, Some(name), None) => {
            let name = check::header_name(Path::of("header"), name)?.to_ascii_lowercase();
            // Names of headers hold neither quotes nor backslashes.
            let expression = format!("request.headers[\"{name}\"]");
            (name, Expression(expression))
        }
        (RateLimitEntryType::Cel, None, None, Some(cel)) => (cel.key.clone(), Expression(cel.expression.clone())),
        (RateLimitEntryType::RemoteAddress, None, None, None) => {
            ("remote_address".to_owned(), Expression("source.address".to_owned()))
        }
        (RateLimitEntryType::Path, None, None, None) => ("path".to_owned(), Expression("request.path".to_owned())),
        _ => {
            let reason = "of generic, header and cel the one that type names must be set, and no other";
            return Err(Error::invalid(Path::of("type"), reason));
        }
    };
    if key.is_empty() {
        return Err(Error::invalid(Path::root(), "its key is empty"));
    }
    Ok(global::Entry { key, kind: Some(kind) })
}

#[cfg(test)]
mod tests {
    use agentgateway_types::policy::GenericEntry;

    use super::*;

    fn of(entry_type: RateLimitEntryType) -> RateLimitEntry {
        RateLimitEntry { entry_type, ..RateLimitEntry::default() }
    }

    #[test]
    fn entries_become_keys_and_values_or_expressions() {
        use global::entry::Kind::{Expression, Value};
        let generic = Some(GenericEntry { key: "plan".into(), value: "free".into() });
        for (entry, key, kind) in [
            (RateLimitEntry { generic, ..of(RateLimitEntryType::Generic) }, "plan", Value("free".into())),
            (
                RateLimitEntry { header: Some("X-User".into()), ..of(RateLimitEntryType::Header) },
                "x-user",
                Expression("request.headers[\"x-user\"]".into()),
            ),
            (of(RateLimitEntryType::RemoteAddress), "remote_address", Expression("source.address".into())),
            (of(RateLimitEntryType::Path), "path", Expression("request.path".into())),
        ] {
            assert_eq!(super::entry(&entry).expect(key), global::Entry { key: key.into(), kind: Some(kind) });
        }
        let wrong = RateLimitEntry { header: Some("x".into()), ..of(RateLimitEntryType::Path) };
        assert_eq!(super::entry(&wrong).expect_err("both").path().to_string(), "type");
        assert!(super::entry(&of(RateLimitEntryType::Generic)).is_err());
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let path = RateLimitDescriptor { entries: vec![of(RateLimitEntryType::Path)], ..Default::default() };
        let header = RateLimitEntry { header: Some("a b".into()), ..of(RateLimitEntryType::Header) };
        let header = RateLimitDescriptor { entries: vec![header], ..Default::default() };
        let error = |domain: &str, all: &[RateLimitDescriptor]| {
            envoy(domain, all, String::new()).expect_err("is wrong").path().to_string()
        };
        assert_eq!(error("", std::slice::from_ref(&path)), "domain");
        assert_eq!(error("d", &[]), "descriptors");
        assert_eq!(error("d", &[path, header]), "descriptors[1].entries[0].header");
        let bucket = TokenBucket { max_keys: Some(1), ..TokenBucket::default() };
        let error = redis("n", &[bucket], Default::default(), 0).expect_err("is wrong");
        assert_eq!(error.path().to_string(), "buckets[0].maxKeys");
        assert!(redis("n", &[], ("user".into(), String::new()), 0).is_err());
    }
}
