//! Public keys of an issuer, from a JWK set (RFC 7517, RFC 7518 §6, RFC 8037), and what each verifies.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::Value;

use super::token::Token;
use crate::limits::{MAX_KEYS, MAX_RSA_BYTES, MAX_TRIED_KEYS};

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct Keys(Box<[Key]>);

#[derive(Debug)]
struct Key {
    id: Option<Box<str>>,
    /// The one algorithm that the key says it is for; any of its kind when it does not.
    algorithm: Option<Box<str>>,
    material: Material,
}

enum Material {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    /// ECDSA and EdDSA, with the algorithm's one name.
    Curve {
        algorithm: &'static str,
        key: UnparsedPublicKey<Vec<u8>>,
    },
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Material::Rsa(_) => "RSA",
            Material::Curve { algorithm, .. } => algorithm,
        })
    }
}

/// Why keys do not verify a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    NoKey,
    Signature,
}

impl Mismatch {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Mismatch::NoKey => "no key fits the token's key id and algorithm",
            Mismatch::Signature => "the token's signature does not verify",
        }
    }
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<Value>,
    k: Option<Value>,
}

impl Keys {
    /// Keys of kinds that are not supported are skipped, as sets hold keys for other purposes too; none left is an error.
    pub(super) fn compile(jwks: &str) -> Result<Keys, String> {
        let set: JwkSet = serde_json::from_str(jwks).map_err(|e| format!("not a JWK set: {e}"))?;
        if set.keys.len() > MAX_KEYS {
            return Err(format!("{} keys; at most {MAX_KEYS} are allowed", set.keys.len()));
        }
        let mut keys = Vec::new();
        let mut skipped = Vec::new();
        for value in set.keys {
            let jwk: Jwk = serde_json::from_value(value).map_err(|e| format!("not a JWK: {e}"))?;
            if jwk.d.is_some() || jwk.k.is_some() {
                return Err("the set holds a private or symmetric key; only public keys belong there".into());
            }
            match Key::compile(jwk) {
                Ok(key) => keys.push(key),
                Err(reason) => skipped.push(reason),
            }
        }
        if keys.is_empty() {
            let why = if skipped.is_empty() { "the set is empty".to_owned() } else { skipped.join("; ") };
            return Err(format!("no key can verify signatures: {why}"));
        }
        Ok(Keys(keys.into()))
    }

    /// Verifies the token's signature with the key that it names, or, where it or the keys have no id, with each that fits.
    pub(super) fn verify(&self, token: &Token<'_>) -> Result<(), Mismatch> {
        let algorithm = token.header.alg.as_str();
        let fits = |key: &&Key| key.verifies(algorithm);
        let tried = match token.header.kid.as_deref() {
            Some(id) if self.0.iter().any(|k| k.id.as_deref() == Some(id)) => {
                self.0.iter().filter(|k| k.id.as_deref() == Some(id)).filter(fits).collect::<Vec<_>>()
            }
            Some(_) => self.0.iter().filter(|k| k.id.is_none()).filter(fits).collect(),
            None => self.0.iter().filter(fits).collect(),
        };
        if tried.is_empty() {
            return Err(Mismatch::NoKey);
        }
        if tried.iter().take(MAX_TRIED_KEYS).any(|key| key.verify(algorithm, token)) {
            Ok(())
        } else {
            Err(Mismatch::Signature)
        }
    }
}

impl Key {
    fn compile(jwk: Jwk) -> Result<Key, String> {
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err("a key is not for signatures".into());
        }
        let part = |name: &str, value: &Option<String>| {
            let text = value.as_deref().ok_or_else(|| format!("a key lacks {name:?}"))?;
            // Some issuers pad, which RFC 7515 §2 forbids.
            URL_SAFE_NO_PAD
                .decode(text.trim_end_matches('='))
                .map_err(|_| format!("{name:?} of a key is not base64url"))
        };
        let exact = |name: &str, value: &Option<String>, length: usize| {
            let bytes = part(name, value)?;
            if bytes.len() == length { Ok(bytes) } else { Err(format!("{name:?} of a key has a wrong length")) }
        };
        let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                // ring refuses numbers with leading zeros, which some issuers write.
                let number = |bytes: Vec<u8>| bytes.into_iter().skip_while(|b| *b == 0).collect::<Vec<u8>>();
                let n = number(part("n", &jwk.n)?);
                if !(256..=MAX_RSA_BYTES).contains(&n.len()) {
                    return Err(format!(
                        "an RSA key has {} bits; 2048 to {} are supported",
                        n.len() * 8,
                        MAX_RSA_BYTES * 8
                    ));
                }
                Material::Rsa(RsaPublicKeyComponents { n, e: number(part("e", &jwk.e)?) })
            }
            ("EC", Some("P-256")) => {
                let point = [&[4][..], &exact("x", &jwk.x, 32)?, &exact("y", &jwk.y, 32)?].concat();
                curve("ES256", &ECDSA_P256_SHA256_FIXED, point)
            }
            ("EC", Some("P-384")) => {
                let point = [&[4][..], &exact("x", &jwk.x, 48)?, &exact("y", &jwk.y, 48)?].concat();
                curve("ES384", &ECDSA_P384_SHA384_FIXED, point)
            }
            ("OKP", Some("Ed25519")) => curve("EdDSA", &ED25519, exact("x", &jwk.x, 32)?),
            (kty, Some(crv)) => return Err(format!("a key of type {kty} on the curve {crv} is not supported")),
            (kty, None) => return Err(format!("a key of type {kty} is not supported")),
        };
        let key = Key { id: jwk.kid.map(Into::into), algorithm: jwk.alg.map(Into::into), material };
        match &key.algorithm {
            Some(algorithm) if !key.verifies(algorithm) => {
                Err(format!("a key is for {algorithm}, which its type cannot do"))
            }
            _ => Ok(key),
        }
    }

    /// Whether the key is for this algorithm.
    fn verifies(&self, algorithm: &str) -> bool {
        if self.algorithm.as_deref().is_some_and(|own| same(own) != same(algorithm)) {
            return false;
        }
        match &self.material {
            Material::Rsa(_) => rsa(algorithm).is_some(),
            Material::Curve { algorithm: own, .. } => *own == same(algorithm),
        }
    }

    fn verify(&self, algorithm: &str, token: &Token<'_>) -> bool {
        match &self.material {
            Material::Rsa(key) => {
                rsa(algorithm).is_some_and(|parameters| key.verify(parameters, token.signed, &token.signature).is_ok())
            }
            Material::Curve { key, .. } => key.verify(token.signed, &token.signature).is_ok(),
        }
    }
}

/// RFC 9864 gives EdDSA with Ed25519 a name of its own.
fn same(algorithm: &str) -> &str {
    if algorithm == "Ed25519" { "EdDSA" } else { algorithm }
}

fn rsa(algorithm: &str) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        "RS256" => &RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &RSA_PSS_2048_8192_SHA256,
        "PS384" => &RSA_PSS_2048_8192_SHA384,
        "PS512" => &RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

fn curve(algorithm: &'static str, verification: &'static dyn VerificationAlgorithm, key: Vec<u8>) -> Material {
    Material::Curve { algorithm, key: UnparsedPublicKey::new(verification, key) }
}
