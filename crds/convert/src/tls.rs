//! TLS as the YAML file writes it. `read` gives the content of a file, or says why it cannot.

use agentgateway_proto::v1::{self, client_validation, subject_alt_name};
use agentgateway_types::Path;
use agentgateway_types::file::{BackendTls, ListenerTls, MtlsMode, TlsVersion};

use crate::check;
use crate::error::Error;

/// Reads a file of the proxy's machine.
pub type ReadFile<'r> = dyn FnMut(&str) -> Result<Vec<u8>, String> + 'r;

/// TLS of a listener.
pub fn server(config: &ListenerTls, read: &mut ReadFile<'_>) -> Result<v1::ServerTls, Error> {
    let mut certificates = Vec::with_capacity(config.certificates.len());
    match (&config.cert, &config.key, config.certificates.as_slice()) {
        (Some(cert), Some(key), []) => certificates.push(certificate(cert, key, &Path::root(), read)?),
        (None, None, [_, ..]) => {
            for (i, files) in config.certificates.iter().enumerate() {
                let at = Path::of("certificates").index(i);
                certificates.push(certificate(&files.cert, &files.key, &at, read)?);
            }
        }
        (None, None, []) => return Err(Error::Missing { path: Path::of("cert") }),
        (Some(_), Some(_), _) => return Err(Error::NotOne { path: Path::root(), members: "cert and certificates" }),
        (None, ..) => return Err(Error::Missing { path: Path::of("cert") }),
        (_, None, _) => return Err(Error::Missing { path: Path::of("key") }),
    }
    let client_validation = match (&config.root, config.mtls_mode) {
        (None, Some(_)) => return Err(Error::Missing { path: Path::of("root") }),
        (None, None) => None,
        (Some(root), mode) => Some(v1::ClientValidation {
            authorities: vec![file(root, Path::of("root"), read)?.into()],
            mode: match mode.unwrap_or_default() {
                MtlsMode::Strict => client_validation::Mode::AllowValidOnly,
                MtlsMode::AllowInsecureFallback => client_validation::Mode::AllowInsecureFallback,
            }
            .into(),
        }),
    };
    Ok(v1::ServerTls {
        certificates,
        client_validation,
        alpn: config.alpn.clone(),
        min_version: version(config.min_tls_version).into(),
        max_version: version(config.max_tls_version).into(),
    })
}

/// TLS to a backend; `host` is its host.
pub fn backend(config: &BackendTls, host: &str, read: &mut ReadFile<'_>) -> Result<v1::BackendTls, Error> {
    let hostname = match &config.hostname {
        Some(name) => check::host(Path::of("hostname"), name)?,
        None => host.to_owned(),
    };
    let authorities = match &config.root {
        Some(root) => vec![file(root, Path::of("root"), read)?.into()],
        None => Vec::new(),
    };
    let client_certificate = match (&config.cert, &config.key) {
        (Some(cert), Some(key)) => Some(certificate(cert, key, &Path::root(), read)?),
        (None, None) => None,
        (None, Some(_)) => return Err(Error::Missing { path: Path::of("cert") }),
        (Some(_), None) => return Err(Error::Missing { path: Path::of("key") }),
    };
    let names = config.subject_alt_names.iter().enumerate();
    let subject_alt_names = names
        .map(|(i, name)| alternative_name(name, Path::of("subjectAltNames").index(i)))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(v1::BackendTls { hostname, subject_alt_names, authorities, client_certificate, refused: String::new() })
}

/// A URI has a scheme; everything else is a host name.
fn alternative_name(name: &str, at: Path) -> Result<v1::SubjectAltName, Error> {
    let kind = if name.contains("://") {
        subject_alt_name::Kind::Uri(name.to_owned())
    } else {
        let bare = name.strip_prefix("*.").unwrap_or(name);
        if !check::hostname(bare) {
            return Err(Error::invalid(at, format!("{name:?} is neither a host name, with or without *., nor a URI")));
        }
        subject_alt_name::Kind::Hostname(name.to_ascii_lowercase())
    };
    Ok(v1::SubjectAltName { kind: Some(kind) })
}

fn certificate(cert: &str, key: &str, at: &Path, read: &mut ReadFile<'_>) -> Result<v1::Certificate, Error> {
    let chain = file(cert, at.clone().key("cert"), read)?;
    Ok(v1::Certificate { chain: chain.into(), private_key: file(key, at.clone().key("key"), read)?.into() })
}

fn file(name: &str, at: Path, read: &mut ReadFile<'_>) -> Result<Vec<u8>, Error> {
    read(name).map_err(|reason| Error::invalid(at, reason))
}

fn version(version: Option<TlsVersion>) -> v1::TlsVersion {
    match version {
        None => v1::TlsVersion::Unspecified,
        Some(TlsVersion::Tls12) => v1::TlsVersion::Tls12,
        Some(TlsVersion::Tls13) => v1::TlsVersion::Tls13,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str) -> Result<Vec<u8>, String> {
        if name == "absent" { Err("absent cannot be read".into()) } else { Ok(name.as_bytes().to_vec()) }
    }

    #[test]
    fn files_are_read_where_they_are_named() {
        let config = ListenerTls {
            cert: Some("c".into()),
            key: Some("k".into()),
            root: Some("r".into()),
            min_tls_version: Some(TlsVersion::Tls13),
            ..ListenerTls::default()
        };
        let tls = server(&config, &mut read).expect("converts");
        assert_eq!((&tls.certificates[0].chain[..], &tls.certificates[0].private_key[..]), (&b"c"[..], &b"k"[..]));
        let validation = tls.client_validation.as_ref().expect("asks");
        assert_eq!(
            (&validation.authorities[0][..], validation.mode()),
            (&b"r"[..], client_validation::Mode::AllowValidOnly)
        );
        assert_eq!(tls.min_version(), v1::TlsVersion::Tls13);
    }

    #[test]
    fn what_does_not_fit_together_is_named() {
        let some = |text: &str| Some(text.to_owned());
        for (config, path) in [
            (ListenerTls::default(), "cert"),
            (ListenerTls { cert: some("c"), ..ListenerTls::default() }, "key"),
            (ListenerTls { key: some("k"), ..ListenerTls::default() }, "cert"),
            (ListenerTls { cert: some("c"), key: some("absent"), ..ListenerTls::default() }, "key"),
            (
                ListenerTls {
                    cert: some("c"),
                    key: some("k"),
                    mtls_mode: Some(MtlsMode::AllowInsecureFallback),
                    ..ListenerTls::default()
                },
                "root",
            ),
        ] {
            assert_eq!(server(&config, &mut read).expect_err(path).path().to_string(), path);
        }
        let bad = BackendTls { subject_alt_names: vec!["a.example".into(), "a b".into()], ..BackendTls::default() };
        assert_eq!(backend(&bad, "h", &mut read).expect_err("a space").path().to_string(), "subjectAltNames[1]");
        let half = BackendTls { cert: some("c"), ..BackendTls::default() };
        assert_eq!(backend(&half, "h", &mut read).expect_err("no key").path().to_string(), "key");
    }

    #[test]
    fn the_backends_host_is_its_name() {
        let names = vec!["*.A.example".into(), "spiffe://td/a".into()];
        let config = BackendTls { subject_alt_names: names, ..BackendTls::default() };
        let tls = backend(&config, "s.example", &mut read).expect("converts");
        assert_eq!(tls.hostname, "s.example");
        let kinds: Vec<_> = tls.subject_alt_names.into_iter().filter_map(|n| n.kind).collect();
        assert_eq!(
            kinds,
            [
                subject_alt_name::Kind::Hostname("*.a.example".into()),
                subject_alt_name::Kind::Uri("spiffe://td/a".into())
            ]
        );
    }
}
