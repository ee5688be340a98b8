//! Cross-site request forgery.

use agentgateway_proto::v1::{self, csrf::OriginMatch, csrf::origin_match::Kind as Match, policy_spec::Kind};
use agentgateway_types::Path;
use agentgateway_types::policy::{Csrf, StringMatcher};

use super::spec;
use crate::check;
use crate::error::Error;

const MOST_ORIGINS: usize = 16;

/// Protection against other sites' pages.
pub fn csrf(policy: &Csrf) -> Result<v1::PolicySpec, Error> {
    for (field, percent) in
        [("percentageEnabled", policy.percentage_enabled), ("percentageShadowed", policy.percentage_shadowed)]
    {
        if let Some(percent) = percent.filter(|percent| *percent > 100) {
            return Err(Error::invalid(Path::of(field), format!("{percent} is more than 100")));
        }
    }
    let at = Path::of("additionalOrigins");
    if policy.additional_origins.len() > MOST_ORIGINS {
        return Err(Error::invalid(at, format!("at most {MOST_ORIGINS} are allowed")));
    }
    let origins = policy.additional_origins.iter().enumerate();
    Ok(spec(Kind::Csrf(v1::Csrf {
        percent_enabled: policy.percentage_enabled,
        percent_shadowed: policy.percentage_shadowed.unwrap_or(0),
        additional_origins: origins.map(|(i, one)| origin(one, at.clone().index(i))).collect::<Result<_, _>>()?,
    })))
}

fn origin(matcher: &StringMatcher, at: Path) -> Result<OriginMatch, Error> {
    let StringMatcher { exact, prefix, suffix, contains, safe_regex, ignore_case } = matcher;
    let all = [
        exact.clone().map(Match::Exact),
        prefix.clone().map(Match::Prefix),
        suffix.clone().map(Match::Suffix),
        contains.clone().map(Match::Contains),
        safe_regex.clone().map(Match::Regex),
    ];
    let mut set = all.into_iter().flatten();
    let (Some(kind), None) = (set.next(), set.next()) else {
        return Err(Error::NotOne { path: at, members: "exact, prefix, suffix, contains and safeRegex" });
    };
    let text = match &kind {
        Match::Regex(text) => {
            check::regex(at.key("safeRegex"), text)?;
            return Ok(OriginMatch { kind: Some(kind), ignore_case: ignore_case.unwrap_or(false) });
        }
        Match::Exact(text) | Match::Prefix(text) | Match::Suffix(text) | Match::Contains(text) => text,
    };
    if text.is_empty() {
        // It would match every origin.
        return Err(Error::invalid(at, "must not be empty"));
    }
    Ok(OriginMatch { kind: Some(kind), ignore_case: ignore_case.unwrap_or(false) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_pattern_that_is_not_empty() {
        let of = |matcher: StringMatcher| {
            csrf(&Csrf { additional_origins: vec![matcher], ..Csrf::default() }).map_err(|e| e.path().to_string())
        };
        let exact = |text: &str| StringMatcher { exact: Some(text.into()), ..StringMatcher::default() };
        assert!(of(exact("a.example")).is_ok());
        assert_eq!(of(exact("")), Err("additionalOrigins[0]".into()));
        assert_eq!(of(StringMatcher::default()), Err("additionalOrigins[0]".into()));
        assert_eq!(of(StringMatcher { prefix: Some("a".into()), ..exact("a") }), Err("additionalOrigins[0]".into()));
        let regex = StringMatcher { safe_regex: Some("(".into()), ..StringMatcher::default() };
        assert_eq!(of(regex), Err("additionalOrigins[0].safeRegex".into()));
    }

    #[test]
    fn percentages_are_at_most_100() {
        let shadowed = Csrf { percentage_shadowed: Some(101), ..Csrf::default() };
        assert_eq!(csrf(&shadowed).expect_err("too much").path().to_string(), "percentageShadowed");
    }
}
