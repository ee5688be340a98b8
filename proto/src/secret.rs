//! `Debug` of the messages that hold secrets, without these: messages are printed in logs and in failed tests.

use std::fmt::{Debug, Formatter, Result};

use crate::v1;

impl Debug for v1::Certificate {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("Certificate").field("chain", &self.chain).finish_non_exhaustive()
    }
}

impl Debug for v1::BasicUser {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("BasicUser").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Debug for v1::backend_authentication::Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("Key").field("header", &self.header).finish_non_exhaustive()
    }
}

impl Debug for v1::backend_authentication::Aws {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("Aws").field("region", &self.region).field("service", &self.service).finish_non_exhaustive()
    }
}

impl Debug for v1::global_rate_limit::Redis {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let mut printed = f.debug_struct("Redis");
        printed.field("buckets", &self.buckets).field("prefix", &self.prefix).field("username", &self.username);
        printed.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let secret = || "s3cret".to_owned();
        let key = v1::backend_authentication::Key { value: secret(), ..Default::default() };
        let aws = v1::backend_authentication::Aws {
            access_key_id: "AKID".into(),
            secret_access_key: secret(),
            session_token: secret(),
            ..Default::default()
        };
        let user = v1::BasicUser { name: "ada".into(), hash: secret() };
        let certificate = v1::Certificate { chain: "chain".into(), private_key: secret().into() };
        let redis = v1::global_rate_limit::Redis { password: secret(), ..Default::default() };
        let printed = format!("{key:?} {aws:?} {user:?} {certificate:?} {redis:?}");
        assert!(!printed.contains("s3cret") && !printed.contains("AKID"), "{printed}");
    }
}
