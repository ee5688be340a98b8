//! The last good snapshot as a file: what a restarted proxy starts from when there is no control plane.
//!
//! The file is for its owner alone (0600; it may hold keys), replaced as a whole, and bound to its gateway and release.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentgateway_proto::kind::Kind;
use agentgateway_proto::snapshot::{Encoded, Snapshot};
use prost::Message;
use prost::bytes::Bytes;

/// First bytes of every file; the digit changes with the layout.
const MAGIC: &[u8; 8] = b"agwkept1";
const CHECKSUM_BYTES: usize = 32;
/// A file larger than this is not ours.
const MAX_BYTES: u64 = 512 << 20;

#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(string, tag = "1")]
    gateway: String,
    #[prost(string, tag = "2")]
    release: String,
    #[prost(uint64, tag = "3")]
    written_unix_millis: u64,
    #[prost(string, tag = "4")]
    generation: String,
    #[prost(message, repeated, tag = "5")]
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(string, tag = "2")]
    key: String,
    #[prost(bytes = "bytes", tag = "3")]
    resource: Bytes,
}

/// Why a kept snapshot is not used.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// It cannot be read or written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It is cut short, changed, or no such file at all.
    #[error("it is broken: {0}")]
    Broken(&'static str),
    /// Another gateway's proxy wrote it.
    #[error("it belongs to gateway {found}, not to {expected}")]
    OtherGateway {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// Another release wrote it.
    #[error("release {found} wrote it, this is {expected}")]
    OtherRelease {
        /// Who wrote it.
        found: String,
        /// Who reads it.
        expected: String,
    },
}

/// A snapshot from a file.
#[derive(Debug)]
pub struct Kept {
    /// What was in use.
    pub snapshot: Snapshot,
    /// When it was written.
    pub written: SystemTime,
}

/// Writes the file, replacing the one before in one step.
pub fn store(path: &Path, gateway: &str, release: &str, snapshot: &Snapshot) -> Result<(), KeptError> {
    let mut entries = Vec::with_capacity(snapshot.len());
    for kind in Kind::PUSH_ORDER {
        for (key, encoded) in snapshot.kind(kind).into_iter().flat_map(|k| k.iter()) {
            entries.push(Entry {
                type_url: kind.type_url().to_owned(),
                key: key.to_string(),
                resource: encoded.bytes.clone(),
            });
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let body = File {
        gateway: gateway.to_owned(),
        release: release.to_owned(),
        written_unix_millis: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        generation: snapshot.generation().version.to_string(),
        entries,
    }
    .encode_to_vec();

    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(MAGIC)?;
    file.write_all(blake3::hash(&body).as_bytes())?;
    file.write_all(&body)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    Ok(())
}

/// Reads the file; `None` when there is none.
pub fn load(path: &Path, gateway: &str, release: &str) -> Result<Option<Kept>, KeptError> {
    let bytes = match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_BYTES => return Err(KeptError::Broken("it is too large")),
        Ok(_) => Bytes::from(fs::read(path)?),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (Some(magic), Some(checksum)) =
        (bytes.get(..MAGIC.len()), bytes.get(MAGIC.len()..MAGIC.len() + CHECKSUM_BYTES))
    else {
        return Err(KeptError::Broken("it is too short"));
    };
    if magic != MAGIC {
        return Err(KeptError::Broken("it does not begin as such a file does"));
    }
    let body = bytes.slice(MAGIC.len() + CHECKSUM_BYTES..);
    if blake3::hash(&body).as_bytes() != checksum {
        return Err(KeptError::Broken("its checksum is wrong"));
    }
    let file = File::decode(body).map_err(|_| KeptError::Broken("it does not decode"))?;
    if file.gateway != gateway {
        return Err(KeptError::OtherGateway { found: file.gateway, expected: gateway.to_owned() });
    }
    if file.release != release {
        return Err(KeptError::OtherRelease { found: file.release, expected: release.to_owned() });
    }
    let mut edit = Snapshot::default().edit();
    for entry in file.entries {
        let kind = Kind::from_type_url(&entry.type_url).ok_or(KeptError::Broken("it holds an unknown kind"))?;
        edit.insert_encoded(kind, &entry.key, Arc::new(Encoded::of(entry.resource)));
    }
    let snapshot = edit.finish();
    if snapshot.generation().version != *file.generation.as_str() {
        return Err(KeptError::Broken("its resources are not those of its generation"));
    }
    Ok(Some(Kept { snapshot, written: UNIX_EPOCH + Duration::from_millis(file.written_unix_millis) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentgateway_proto::resource::Resource;
    use agentgateway_proto::v1;
    use std::os::unix::fs::PermissionsExt;

    fn snapshot() -> Snapshot {
        Snapshot::of(&[
            Resource::Bind(v1::Bind { key: "b".into(), port: 80, ..Default::default() }),
            Resource::Route(v1::Route { key: "r".into(), ..Default::default() }),
        ])
    }

    #[test]
    fn round_trips_and_is_private() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("snapshot");
        assert!(load(&path, "a/b", "1").expect("no file is no error").is_none());
        store(&path, "a/b", "1", &Snapshot::default()).expect("stores");
        store(&path, "a/b", "1", &snapshot()).expect("replaces");
        assert_eq!(fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
        let kept = load(&path, "a/b", "1").expect("loads").expect("is there");
        assert_eq!(kept.snapshot.generation(), snapshot().generation());
        assert!(kept.written.elapsed().expect("in the past") < Duration::from_secs(60));
    }

    #[test]
    fn foreign_and_broken_files_are_refused() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("snapshot");
        store(&path, "a/b", "1", &snapshot()).expect("stores");
        assert!(matches!(load(&path, "a/c", "1"), Err(KeptError::OtherGateway { .. })));
        assert!(matches!(load(&path, "a/b", "2"), Err(KeptError::OtherRelease { .. })));
        let good = fs::read(&path).expect("reads");
        for cut in [0, 7, 39, 41, good.len() - 1] {
            fs::write(&path, &good[..cut]).expect("writes");
            assert!(matches!(load(&path, "a/b", "1"), Err(KeptError::Broken(_))), "cut at {cut}");
        }
        for at in [0, 10, 45, good.len() - 1] {
            let mut changed = good.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).expect("writes");
            assert!(matches!(load(&path, "a/b", "1"), Err(KeptError::Broken(_))), "changed at {at}");
        }
    }
}
