//! Secrets, in a type that prints none of its content.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use agentgateway_proto::v1;
use k8s_openapi::api::core::v1 as core;
use kube::core::ObjectMeta;
use prost::bytes::Bytes;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// A Secret. Its content appears in no log, error or dump: it has no `Debug` of its content, and one that does not fit its
/// type is told without what is in it.
pub struct Secret {
    metadata: ObjectMeta,
    data: BTreeMap<String, Vec<u8>>,
    pair: OnceLock<Result<v1::Certificate, String>>,
}

const CERTIFICATE: &str = "tls.crt";
const PRIVATE_KEY: &str = "tls.key";

impl Secret {
    /// Metadata.
    pub fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.data.get(key).map(Vec::as_slice)
    }

    /// The certificate and key in it, or why there is no such pair. Checked once: many listeners may show the same one.
    pub(crate) fn key_pair(&self) -> &Result<v1::Certificate, String> {
        self.pair.get_or_init(|| {
            let part = |key: &str| match self.get(key) {
                Some(content) if !content.is_empty() => Ok(Bytes::copy_from_slice(content)),
                _ => Err(format!("has no key {key}")),
            };
            let certificate = v1::Certificate { chain: part(CERTIFICATE)?, private_key: part(PRIVATE_KEY)? };
            match agentgateway_tls::certified_key(&certificate) {
                Ok(_) => Ok(certificate),
                Err(error) => Err(format!("cannot be used: {error}")),
            }
        })
    }

    /// All keys with their values.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.data.iter().map(|(key, value)| (key.as_str(), value.as_slice()))
    }

    pub(crate) fn same_content(&self, other: &Secret) -> bool {
        self.data == other.data
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("namespace", &self.metadata.namespace)
            .field("name", &self.metadata.name)
            .field("keys", &self.data.keys())
            .finish_non_exhaustive()
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        // The reader's own error would quote the value that it stumbled over.
        let secret = core::Secret::deserialize(deserializer)
            .map_err(|_| D::Error::custom("data must map names to base64, stringData names to text"))?;
        let mut data: BTreeMap<String, Vec<u8>> =
            secret.data.into_iter().flatten().map(|(key, value)| (key, value.0)).collect();
        // As the API server does, which never gives stringData; a folder's manifest has it.
        data.extend(secret.string_data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes())));
        Ok(Secret { metadata: secret.metadata, data, pair: OnceLock::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Object;
    use serde_json::json;

    #[test]
    fn text_and_base64_are_read() {
        let secret: Secret = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"},
            "data": {"a": "aGk="}, "stringData": {"b": "ho"},
        }))
        .expect("reads");
        assert_eq!((secret.get("a"), secret.get("b"), secret.get("c")), (Some(&b"hi"[..]), Some(&b"ho"[..]), None));
    }

    #[test]
    fn nothing_of_it_is_printed() {
        for data in [json!({"key": "c2VjcmV0IQ=="}), json!({"key": "c2VjcmV0IQ=="  .repeat(2)}), json!("c2VjcmV0IQ==")]
        {
            let manifest = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": data});
            let printed = format!("{:?}", Object::read(manifest).expect("a Secret"));
            assert!(!printed.contains("secret!") && !printed.contains("c2VjcmV0"), "{printed}");
        }
    }
}
