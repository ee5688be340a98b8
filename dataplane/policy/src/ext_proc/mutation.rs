//! Changes of heads that a processor asks for, and which of them it may have.

use agentgateway_callout::processor::header_value_option::HeaderAppendAction;
use agentgateway_callout::processor::{HeaderMutation, HeaderValueOption};
use agentgateway_proto::v1;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, response};

use super::call::Failure;
use crate::RequestContext;
use crate::ext_authz::{Change, is_framing, names};
use crate::limits::{MAX_MUTATION_BYTES, MAX_MUTATIONS};
use crate::rewrite::set_host;
use crate::transformation::{authority, method, path};

/// Which headers a processor may change. What frames a message it never may.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    allow_routing: bool,
    /// Empty: all.
    allow: Box<[HeaderName]>,
    deny: Box<[HeaderName]>,
    denied_is_error: bool,
}

impl Rules {
    pub(super) fn compile(spec: Option<&v1::external_processing::MutationRules>) -> Result<Rules, String> {
        let Some(spec) = spec else { return Ok(Rules::default()) };
        Ok(Rules {
            allow_routing: spec.allow_routing,
            allow: names(&spec.allow)?,
            deny: names(&spec.deny)?,
            denied_is_error: spec.denied_is_error,
        })
    }

    fn allows(&self, name: &HeaderName) -> bool {
        !is_framing(name) && !self.deny.contains(name) && (self.allow.is_empty() || self.allow.contains(name))
    }

    fn denied(&self, name: &str) -> Result<(), Failure> {
        if self.denied_is_error {
            return Err(Failure::Denied(name.into()));
        }
        tracing::debug!(name, "a processor changes a header that it may not change");
        Ok(())
    }

    pub(super) fn request(
        &self,
        head: &mut Parts,
        context: &mut RequestContext,
        mutation: &HeaderMutation,
    ) -> Result<(), Failure> {
        let pseudo = self.apply(&mut head.headers, mutation)?;
        for (name, value) in pseudo {
            let done = match name {
                ":path" => path(&mut head.uri, Some(value)),
                ":method" if self.allow_routing => method(Some(value)).map(|method| head.method = method),
                ":authority" | "host" if self.allow_routing => {
                    authority(value).and_then(|authority| set_host(head, context, &authority))
                }
                other => {
                    self.denied(other)?;
                    continue;
                }
            };
            done.ok_or_else(|| Failure::Contradiction(format!("its {name} is none").into()))?;
        }
        Ok(())
    }

    pub(super) fn response(&self, head: &mut response::Parts, mutation: &HeaderMutation) -> Result<(), Failure> {
        let pseudo = self.apply(&mut head.headers, mutation)?;
        for (name, value) in pseudo {
            if name != ":status" {
                self.denied(name)?;
                continue;
            }
            let code = value.parse::<u16>().ok().filter(|code| (200..600).contains(code));
            let status = code.and_then(|code| StatusCode::from_u16(code).ok());
            head.status = status.ok_or_else(|| Failure::Contradiction("its :status is none".into()))?;
        }
        Ok(())
    }

    pub(super) fn trailers(&self, trailers: &mut HeaderMap, mutation: &HeaderMutation) -> Result<(), Failure> {
        let pseudo = self.apply(trailers, mutation)?;
        pseudo.into_iter().try_for_each(|(name, _)| self.denied(name))
    }

    /// What is removed, then what is set. Gives what is no header: the parts of the first line, and the host.
    fn apply<'a>(
        &self,
        headers: &mut HeaderMap,
        mutation: &'a HeaderMutation,
    ) -> Result<Vec<(&'a str, String)>, Failure> {
        if mutation.set_headers.len() + mutation.remove_headers.len() > MAX_MUTATIONS {
            return Err(Failure::Contradiction(format!("it changes more than {MAX_MUTATIONS} headers").into()));
        }
        for name in &mutation.remove_headers {
            match name.parse::<HeaderName>() {
                Ok(name) if self.allows(&name) => drop(headers.remove(name)),
                _ => self.denied(name)?,
            }
        }
        let (mut pseudo, mut bytes) = (Vec::new(), 0);
        for option in &mutation.set_headers {
            let Some((name, value)) = written(option) else { continue };
            if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
                let name = if name.starts_with(':') { name } else { "host" };
                pseudo.push((name, String::from_utf8_lossy(value).into_owned()));
                continue;
            }
            let change = change(option, name, value)?;
            if !self.allows(change.name()) {
                self.denied(name)?;
                continue;
            }
            bytes += change.size();
            if bytes > MAX_MUTATION_BYTES {
                let text = format!("it sets more than {MAX_MUTATION_BYTES} bytes of headers");
                return Err(Failure::Contradiction(text.into()));
            }
            change.apply(headers);
        }
        Ok(pseudo)
    }
}

/// Name and value.
fn written(option: &HeaderValueOption) -> Option<(&str, &[u8])> {
    let header = option.header.as_ref()?;
    let value = if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value[..] };
    Some((&header.key, value))
}

/// A value takes the place of what is there, unless `append` or another action than the one that is 0 says otherwise.
fn change(option: &HeaderValueOption, name: &str, value: &[u8]) -> Result<Change, Failure> {
    let invalid = || Failure::Contradiction(format!("it sets {name:?}, which is no header").into());
    let name: HeaderName = name.parse().map_err(|_| invalid())?;
    if value.is_empty() && !option.keep_empty_value {
        return Ok(Change::Remove(name));
    }
    let value = HeaderValue::from_bytes(value).map_err(|_| invalid())?;
    Ok(match (&option.append, option.append_action()) {
        (Some(append), _) if append.value => Change::Add(name, value),
        (None, HeaderAppendAction::AddIfAbsent) => Change::AddIfAbsent(name, value),
        (None, HeaderAppendAction::OverwriteIfExists) => Change::SetIfPresent(name, value),
        _ => Change::Set(name, value),
    })
}
