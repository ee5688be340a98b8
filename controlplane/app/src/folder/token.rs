//! The token that proxies on this machine show: random, new at each start, in a file for its owner alone.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use agentgateway_controlplane_xds::{Allowed, Authenticator, Refusal};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Accepts the one token.
pub(crate) struct FileToken {
    hash: blake3::Hash,
}

/// Makes a token and writes it, in place of one of an earlier run.
pub(crate) fn create(path: &Path) -> io::Result<FileToken> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    let token = URL_SAFE_NO_PAD.encode(random);
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // create_new: whatever stands there now is not followed.
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{token}")?;
    Ok(FileToken { hash: blake3::hash(token.as_bytes()) })
}

#[tonic::async_trait]
impl Authenticator for FileToken {
    async fn authenticate(&self, token: &str) -> Result<Allowed, Refusal> {
        // Comparing hashes takes the same time wherever they differ.
        if blake3::hash(token.as_bytes()) == self.hash {
            Ok(Allowed::Any)
        } else {
            Err(Refusal::Invalid(
                "it is not the one in the token file; a control plane makes a new one at each start".to_owned(),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn the_file_holds_the_one_token_that_is_accepted() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("state/token");
        let first = create(&path).expect("creates");
        assert_eq!(fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
        let token = fs::read_to_string(&path).expect("reads");
        assert_eq!(first.authenticate(token.trim()).await, Ok(Allowed::Any));
        assert!(first.authenticate("guessed").await.is_err());
        let second = create(&path).expect("creates again");
        assert!(second.authenticate(token.trim()).await.is_err(), "a new one at each start");
    }
}
