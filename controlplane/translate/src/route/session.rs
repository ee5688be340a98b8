//! Session persistence of HTTPRoutes and GRPCRoutes.

use agentgateway_proto::v1::{self, policy_spec::Kind, session_persistence::Type};
use agentgateway_types::Path;

use super::http::milliseconds;
use super::rule::{Problem, Rule};

/// Session persistence, as a rule of either kind asks for it.
pub(super) struct Session<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) header: bool,
    pub(super) absolute: Option<&'a str>,
    pub(super) idle: Option<&'a str>,
    pub(super) permanent: bool,
}

/// The two kinds of route have types of their own, with the same members.
macro_rules! session {
    ($config:expr, $kind:ty, $lifetime:ty) => {
        $crate::route::session::Session {
            name: $config.session_name.as_deref(),
            header: $config.r#type == Some(<$kind>::Header),
            absolute: $config.absolute_timeout.as_deref(),
            idle: $config.idle_timeout.as_deref(),
            permanent: $config
                .cookie_config
                .as_ref()
                .is_some_and(|config| config.lifetime_type == Some(<$lifetime>::Permanent)),
        }
    };
}
pub(super) use session;

impl Session<'_> {
    /// Adds it to a rule.
    pub(super) fn push(&self, at: &Path, rule: &mut Rule) {
        match self.convert(at) {
            Ok(kind) => rule.policies.push(v1::PolicySpec { kind: Some(kind) }),
            Err(problem) => rule.problems.push(problem),
        }
    }

    fn convert(&self, at: &Path) -> Result<Kind, Problem> {
        let absolute = milliseconds(self.absolute, at, "absoluteTimeout")?;
        if self.permanent && absolute.is_none() {
            return Err(Problem::unsupported(format!("{at}: a permanent cookie needs an absoluteTimeout")));
        }
        if self.permanent && self.header {
            return Err(Problem::unsupported(format!("{at}.cookieConfig: there is no cookie with type Header")));
        }
        Ok(Kind::SessionPersistence(v1::SessionPersistence {
            session_name: self.name.unwrap_or_default().to_owned(),
            r#type: if self.header { Type::Header } else { Type::Cookie }.into(),
            absolute_timeout_milliseconds: absolute,
            idle_timeout_milliseconds: milliseconds(self.idle, at, "idleTimeout")?,
            permanent_cookie: self.permanent,
        }))
    }
}
