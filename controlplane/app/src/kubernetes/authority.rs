//! Keeps the CA in a Secret that the replicas share, and the serving certificate made from it.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::resume::Resume;
use crate::certificates::{Authorities, Authority, CertificateError, SERVING_REPLACE_AFTER};

/// Name of the Secret.
pub(crate) const SECRET: &str = "agentgateway-xds-ca";
/// How often the ages of the CA and of the serving certificate are looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Why there is no CA.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityError {
    /// The API server refuses or does not answer.
    #[error("cannot read or write Secret {SECRET}: {0}")]
    Api(#[from] kube::Error),
    /// Other replicas were faster each time.
    #[error("Secret {SECRET} changes all the time")]
    Contended,
    /// A certificate could not be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// The serving certificate of the moment.
#[derive(Debug, Default)]
pub(crate) struct Serving {
    key: RwLock<Option<Arc<CertifiedKey>>>,
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.key.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Keeps the CA for this replica.
pub(crate) struct Keeper {
    api: Api<Secret>,
    names: Vec<String>,
    serving: Arc<Serving>,
    bundle: watch::Sender<String>,
    current: Authorities,
    served_since: SystemTime,
}

impl Keeper {
    /// Reads the CA, or makes the first one, and a serving certificate for `names`.
    pub(crate) async fn new(client: Client, namespace: &str, names: Vec<String>) -> Result<Keeper, AuthorityError> {
        let api = Api::namespaced(client, namespace);
        let now = SystemTime::now();
        let current = ensure(&api, now).await?;
        let keeper = Keeper {
            api,
            names,
            serving: Arc::default(),
            bundle: watch::Sender::new(current.bundle()),
            current,
            served_since: now,
        };
        keeper.serve(now)?;
        Ok(keeper)
    }

    /// All certificates that proxies are to trust, as they change.
    pub(crate) fn bundle(&self) -> watch::Receiver<String> {
        self.bundle.subscribe()
    }

    /// For the discovery port; follows the serving certificate.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, AuthorityError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::from)?
            .with_no_client_auth()
            .with_cert_resolver(self.serving.clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Follows the Secret and the calendar.
    pub(crate) async fn run(mut self) {
        let mut changes = pin!(watch_object(self.api.clone(), SECRET).backoff(Resume::default()));
        let mut checks = tokio::time::interval(CHECK_INTERVAL);
        loop {
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        tracing::warn!(%error, "the watch on the CA was interrupted; it is resumed");
                        continue;
                    }
                    None => return,
                },
                _ = checks.tick() => {}
            }
            if let Err(error) = self.refresh(SystemTime::now()).await {
                tracing::error!(%error, "the CA could not be kept; the present certificates stay in use");
            }
        }
    }

    async fn refresh(&mut self, now: SystemTime) -> Result<(), AuthorityError> {
        let newest = ensure(&self.api, now).await?;
        let stale = now.duration_since(self.served_since).unwrap_or_default() >= SERVING_REPLACE_AFTER;
        if newest != self.current || stale {
            self.current = newest;
            self.served_since = now;
            self.serve(now)?;
            self.bundle.send_replace(self.current.bundle());
        }
        Ok(())
    }

    fn serve(&self, now: SystemTime) -> Result<(), AuthorityError> {
        let key = self.current.active.serving(&self.names, now)?;
        *self.serving.key.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(key));
        tracing::info!("a new serving certificate is in use");
        Ok(())
    }
}

/// The CA as it is to be now. Replicas may do this at once: the API server lets one write, the others read again.
async fn ensure(api: &Api<Secret>, now: SystemTime) -> Result<Authorities, AuthorityError> {
    const ATTEMPTS: usize = 5;
    for _ in 0..ATTEMPTS {
        let secret = api.get_opt(SECRET).await?;
        let stored = secret.as_ref().and_then(|secret| read(secret.data.as_ref()?));
        let next = match &stored {
            Some(authorities) => match authorities.advance(now)? {
                Some(next) => next,
                None => return Ok(authorities.clone()),
            },
            None => Authorities::new(now)?,
        };
        let written = match secret {
            Some(mut secret) => {
                secret.data = Some(write(&next));
                api.replace(SECRET, &PostParams::default(), &secret).await
            }
            None => {
                let metadata = ObjectMeta { name: Some(SECRET.to_owned()), ..Default::default() };
                let secret = Secret { metadata, data: Some(write(&next)), ..Default::default() };
                api.create(&PostParams::default(), &secret).await
            }
        };
        match written {
            Ok(_) => {
                tracing::info!("a step in the life of the CA was taken");
                return Ok(next);
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(AuthorityError::Contended)
}

fn write(authorities: &Authorities) -> BTreeMap<String, ByteString> {
    let mut data = BTreeMap::new();
    let mut put = |key: &str, value: String| {
        data.insert(key.to_owned(), ByteString(value.into_bytes()));
    };
    let mut put_authority = |name: &str, authority: &Authority| {
        put(&format!("{name}.crt"), authority.certificate.clone());
        put(&format!("{name}.key"), authority.key.clone());
        put(&format!("{name}.created"), authority.created.to_string());
    };
    put_authority("ca", &authorities.active);
    if let Some(next) = &authorities.next {
        put_authority("next", next);
    }
    if let Some((certificate, created)) = &authorities.previous {
        put("previous.crt", certificate.clone());
        put("previous.created", created.to_string());
    }
    data
}

/// `None` for a Secret that is not as [`write`] makes it; a new CA is made then.
fn read(data: &BTreeMap<String, ByteString>) -> Option<Authorities> {
    let text = |key: String| String::from_utf8(data.get(&key)?.0.clone()).ok();
    let authority = |name: &str| {
        Some(Authority {
            certificate: text(format!("{name}.crt"))?,
            key: text(format!("{name}.key"))?,
            created: text(format!("{name}.created"))?.parse().ok()?,
        })
    };
    let previous = || Some((text("previous.crt".to_owned())?, text("previous.created".to_owned())?.parse().ok()?));
    Some(Authorities { active: authority("ca")?, next: authority("next"), previous: previous() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let now = SystemTime::now();
        let mut authorities = Authorities::new(now).expect("CA");
        assert_eq!(read(&write(&authorities)), Some(authorities.clone()));
        authorities.next = Some(Authorities::new(now).expect("CA").active);
        authorities.previous = Some(("PEM".to_owned(), 7));
        assert_eq!(read(&write(&authorities)), Some(authorities));
        assert_eq!(read(&BTreeMap::new()), None);
    }
}
