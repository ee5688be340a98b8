//! Where credentials are in requests, and whether they must be.

use agentgateway_proto::v1::{self, credential_location::Kind};
use agentgateway_types::Path;
use agentgateway_types::policy::{AuthMode, CredentialLocation};

use crate::check;
use crate::error::Error;

const MOST_LOCATIONS: usize = 4;

pub(super) fn mode(mode: Option<AuthMode>) -> i32 {
    match mode.unwrap_or_default() {
        AuthMode::Strict => v1::AuthenticationMode::Strict,
        AuthMode::Optional => v1::AuthenticationMode::Optional,
        AuthMode::Permissive => v1::AuthenticationMode::Permissive,
    }
    .into()
}

pub(super) fn locations(all: &[CredentialLocation]) -> Result<Vec<v1::CredentialLocation>, Error> {
    let at = Path::of("locations");
    if all.len() > MOST_LOCATIONS {
        return Err(Error::invalid(at, format!("at most {MOST_LOCATIONS} are allowed")));
    }
    all.iter().enumerate().map(|(i, one)| location(one, &at.clone().index(i))).collect()
}

fn location(location: &CredentialLocation, at: &Path) -> Result<v1::CredentialLocation, Error> {
    let kind = match (&location.header, &location.query_parameter, &location.cookie) {
        (Some(header), None, None) => {
            let at = at.clone().key("header");
            let prefix = header.prefix.clone().unwrap_or_default();
            // The space at the end of "Bearer " belongs to it.
            check::header_value(at.clone().key("prefix"), prefix.trim_end_matches(' '))?;
            let name = check::header_name(at.key("name"), &header.name)?;
            Kind::Header(v1::credential_location::InHeader { name, prefix })
        }
        (None, Some(parameter), None) => Kind::QueryParameter(parameter.name.clone()),
        (None, None, Some(cookie)) => {
            Kind::Cookie(check::header_name(at.clone().key("cookie").key("name"), &cookie.name)?)
        }
        _ => return Err(Error::NotOne { path: at.clone(), members: "header, queryParameter and cookie" }),
    };
    Ok(v1::CredentialLocation { kind: Some(kind) })
}

#[cfg(test)]
mod tests {
    use agentgateway_types::policy::{HeaderLocation, NamedLocation};

    use super::*;

    #[test]
    fn a_location_is_one_place() {
        let header = |name: &str, prefix: &str| CredentialLocation {
            header: Some(HeaderLocation { name: name.into(), prefix: Some(prefix.into()) }),
            ..CredentialLocation::default()
        };
        assert!(locations(&[header("x-token", "Token ")]).is_ok());
        let wrong = [
            (vec![CredentialLocation::default()], "locations[0]"),
            (vec![header("a b", "")], "locations[0].header.name"),
            (vec![header("a", "x\r\n")], "locations[0].header.prefix"),
            (
                vec![CredentialLocation { cookie: Some(NamedLocation { name: "a=".into() }), ..Default::default() }],
                "locations[0].cookie.name",
            ),
            (vec![header("a", ""); 5], "locations"),
        ];
        for (wrong, field) in wrong {
            assert_eq!(locations(&wrong).expect_err(field).path().to_string(), field);
        }
    }
}
