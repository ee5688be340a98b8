//! Names and passwords.

use agentgateway_proto::v1::{self, policy_spec::Kind};
use agentgateway_types::Path;
use agentgateway_types::policy::{BasicAuth, TextSource};

use super::{Lookup, credentials, spec};
use crate::error::{Error, Within};

const MOST_USERS: usize = 4096;
const MOST_NAME_BYTES: usize = 255;

/// Names and passwords; `htpasswd` gives the text of the file.
pub fn basic_auth<S>(
    policy: &BasicAuth<S>,
    htpasswd: &mut dyn FnMut(&S) -> Result<String, Error>,
) -> Result<v1::PolicySpec, Error> {
    let text = htpasswd(&policy.htpasswd).within(|| Path::of("htpasswd"))?;
    let users = users(&text).map_err(|reason| Error::invalid(Path::of("htpasswd"), reason))?;
    let realm = policy.realm.clone().unwrap_or_default();
    // It stands in a quoted string of a header (RFC 9110 §5.6.4).
    if !realm.bytes().all(|b| (b' '..0x7f).contains(&b) && b != b'"' && b != b'\\') {
        let reason = "must be visible ASCII characters and spaces, without quotes and backslashes";
        return Err(Error::invalid(Path::of("realm"), reason));
    }
    Ok(spec(Kind::BasicAuth(v1::BasicAuthentication { users, mode: credentials::mode(policy.mode), realm })))
}

pub(super) fn from_file(policy: &BasicAuth<TextSource>, lookup: &mut dyn Lookup) -> Result<v1::PolicySpec, Error> {
    basic_auth(policy, &mut |source| text(source, lookup))
}

/// The text of a source in the YAML file.
pub(super) fn text(source: &TextSource, lookup: &mut dyn Lookup) -> Result<String, Error> {
    match (&source.file, &source.inline) {
        (Some(file), None) => {
            let content = lookup.file(file).map_err(|reason| Error::invalid(Path::of("file"), reason))?;
            String::from_utf8(content).map_err(|_| Error::invalid(Path::of("file"), format!("{file} is not UTF-8")))
        }
        (None, Some(text)) => Ok(text.clone()),
        _ => Err(Error::NotOne { path: Path::root(), members: "file and inline" }),
    }
}

fn users(text: &str) -> Result<Vec<v1::BasicUser>, String> {
    let mut users: Vec<v1::BasicUser> = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    for (i, line) in text.lines().enumerate() {
        let (line, number) = (line.trim(), i + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, hash) = line.split_once(':').ok_or_else(|| format!("line {number} is not name:hash"))?;
        if name.is_empty() || name.len() > MOST_NAME_BYTES {
            return Err(format!("line {number}: a name has 1 to {MOST_NAME_BYTES} bytes"));
        }
        if !names.insert(name) {
            return Err(format!("line {number}: the name is there already"));
        }
        known(hash).map_err(|reason| format!("line {number}: {reason}"))?;
        users.push(v1::BasicUser { name: name.to_owned(), hash: hash.to_owned() });
    }
    match users.len() {
        0 => Err("it names nobody".into()),
        n if n > MOST_USERS => Err(format!("it has {n} names; at most {MOST_USERS} are allowed")),
        _ => Ok(users),
    }
}

fn known(hash: &str) -> Result<(), &'static str> {
    if ["$2a$", "$2b$", "$2y$", "$5$", "$6$", "{SHA}"].iter().any(|prefix| hash.starts_with(prefix)) {
        return Ok(());
    }
    if hash.starts_with("$apr1$") || hash.starts_with("$1$") {
        return Err("MD5 is not supported; make the line with `htpasswd -B`");
    }
    Err("the password is not hashed in a form that is supported; make the line with `htpasswd -B`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_htpasswd_are_read() {
        let text = "# people\n\nada:$2y$05$abc\r\nbob:{SHA}xyz\nsam:$6$s$h\n";
        let names: Vec<_> = users(text).expect("reads").into_iter().map(|user| user.name).collect();
        assert_eq!(names, ["ada", "bob", "sam"]);
    }

    #[test]
    fn passwords_that_are_not_hashed_well_are_refused_by_line_alone() {
        for (text, part) in [
            ("ada:secret1", "line 1: the password is not hashed"),
            ("\nada:$apr1$secret1", "line 2: MD5"),
            ("ada", "line 1 is not name:hash"),
            (":$2y$secret1", "line 1: a name"),
            ("a:{SHA}secret1\na:{SHA}secret1", "line 2: the name is there already"),
            ("# nobody", "names nobody"),
        ] {
            let error = users(text).expect_err(text);
            assert!(error.contains(part) && !error.contains("secret1"), "{error}");
        }
    }

    #[test]
    fn a_realm_ends_no_header() {
        let policy = |realm: &str| BasicAuth { realm: Some(realm.into()), ..BasicAuth::<()>::default() };
        let convert = |realm: &str| basic_auth(&policy(realm), &mut |()| Ok("a:{SHA}x".into()));
        assert!(convert("people & machines").is_ok());
        assert_eq!(convert("a\", x=\"").expect_err("quotes").path().to_string(), "realm");
    }
}
