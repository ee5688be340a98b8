//! Finds the session of a request; one that this process does not know is taken over when its id says how.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use http::HeaderValue;

use crate::backend::McpBackend;
use crate::capabilities::Features;
use crate::identity::Identity;
use crate::limits::RESUME;
use crate::link::Link;
use crate::link::http::HttpLink;
use crate::protocol::Version;
use crate::session::Session;
use crate::shared::Io;
use crate::target::{Target, Transport};
use crate::token::{Contents, TargetContents};

/// Why there is no session; clients hear no more than that it is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unknown {
    #[error("the session id was not made with this key, or was changed")]
    Forged,
    #[error("the session id belongs to another backend")]
    OtherBackend,
    #[error("the session id belongs to another caller")]
    OtherCaller,
    #[error("the session was ended")]
    Ended,
    #[error("the session id is too old to be resumed")]
    Old,
    #[error("there are too many sessions to resume another")]
    Full,
}

/// Seconds since the epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// The session that `token` stands for.
pub(crate) async fn find(
    io: &Io,
    backend: &McpBackend,
    token: &[u8],
    identity: Identity,
) -> Result<Arc<Session>, Unknown> {
    let opened = io.shared.sealer.open(token).ok_or(Unknown::Forged)?;
    if opened.identity != identity.0 {
        return Err(Unknown::OtherCaller);
    }
    if let Some(session) = io.shared.table.get(&opened.id) {
        if session.backend != backend.key {
            return Err(Unknown::OtherBackend);
        }
        session.retain(&backend.targets);
        return Ok(session);
    }
    if io.shared.table.was_ended(&opened.id) {
        return Err(Unknown::Ended);
    }
    if now().saturating_sub(opened.issued) > io.shared.limits.session_lifetime.as_secs() {
        return Err(Unknown::Old);
    }
    let contents = opened.contents().ok_or(Unknown::Forged)?;
    if *contents.backend != *backend.key {
        return Err(Unknown::OtherBackend);
    }
    let session = resume(io, backend, opened.id, contents).await;
    let session = io.shared.table.insert(session).ok_or(Unknown::Full)?;
    io.shared.metrics.sessions_resumed.fetch_add(1, Ordering::Relaxed);
    io.shared.count_sessions();
    Ok(session)
}

/// The session as far as its id holds it. Links to servers over HTTP go on with the servers' own sessions; all else is
/// begun anew when it is needed.
async fn resume(io: &Io, backend: &McpBackend, id: [u8; 16], contents: Contents) -> Arc<Session> {
    let version = Version::parse(&contents.version).unwrap_or(Version::LATEST);
    let session = Arc::new(Session::new(id, Arc::clone(&backend.key), version, contents.client));
    session.set_initialized();
    session.set_answered();
    let links = contents.targets.iter().filter_map(|own| {
        let target = backend.targets.iter().find(|t| *t.name == *own.name)?;
        Some(async move { Some((target, tokio::time::timeout(RESUME, restored(io, target, own)).await.ok()??)) })
    });
    for (target, link) in join_all(links).await.into_iter().flatten() {
        session.restore(target, link);
    }
    session
}

async fn restored(io: &Io, target: &Target, own: &TargetContents) -> Option<Link> {
    let Transport::StreamableHttp(server) = &target.transport else { return None };
    let address = own.endpoint?;
    let picked = match server.cluster.known_endpoint(address) {
        Some(picked) => picked,
        None => {
            // A name that was not looked up since the start has no endpoints yet.
            io.upstream().pick(&server.cluster).await.ok()?;
            server.cluster.known_endpoint(address)?
        }
    };
    Some(Link::Http(Arc::new(HttpLink {
        picked,
        session: own.session.as_deref().map(HeaderValue::from_str).transpose().ok()?,
        version: Version::parse(&own.version)?,
        features: Features(own.features),
    })))
}

/// What another process needs to go on with `session`.
pub(crate) fn contents(session: &Session) -> Contents {
    let targets = session.links().into_iter().filter_map(|(target, link)| match link {
        Link::Http(link) => Some(TargetContents {
            name: target.name.to_string(),
            session: link.session.as_ref().map(|s| s.to_str().map(str::to_owned)).transpose().ok()?,
            version: link.version.as_str().to_owned(),
            features: link.features.0,
            endpoint: Some(link.picked.endpoint().address()),
        }),
        Link::Sse(_) | Link::Stdio(_) | Link::Api(_) => None,
    });
    Contents {
        backend: session.backend.to_string(),
        version: session.version().as_str().to_owned(),
        client: session.client().to_owned(),
        targets: targets.collect(),
    }
}
