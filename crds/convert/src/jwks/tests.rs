use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn keys(text: &str) -> Vec<Value> {
    let set: Value = serde_json::from_str(&normalise(text).expect("normalises")).expect("JSON");
    set["keys"].as_array().expect("a list").clone()
}

const RSA: &str = include_str!("../../testdata/rsa.pub.pem");
const RSA_PKCS1: &str = include_str!("../../testdata/rsa-pkcs1.pub.pem");
const P256: &str = include_str!("../../testdata/ec-p256.pub.pem");
const P384: &str = include_str!("../../testdata/ec-p384.pub.pem");
const ED25519: &str = include_str!("../../testdata/ed25519.pub.pem");

#[test]
fn pem_keys_become_jwks() {
    let [rsa] = &keys(RSA)[..] else { panic!("one key") };
    assert_eq!((&rsa["kty"], &rsa["e"]), (&json!("RSA"), &json!("AQAB")));
    assert_eq!(rsa["n"].as_str().expect("text").len(), 342, "2048 bits without a leading zero");
    assert_eq!(keys(RSA_PKCS1), keys(RSA), "both forms of a PEM key are one key");
    let kinds: Vec<_> = keys(&format!("a comment\n{P256}\n{P384}{ED25519}")).iter().map(|k| k["crv"].clone()).collect();
    assert_eq!(kinds, ["P-256", "P-384", "Ed25519"]);
}

#[test]
fn a_key_and_a_set_of_keys_are_alike_and_only_public_members_remain() {
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "a", "x5c": ["certificate"]});
    let public = json!({"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "a"});
    assert_eq!(keys(&key.to_string()), std::slice::from_ref(&public));
    assert_eq!(keys(&json!({"keys": [key, public]}).to_string()), [public.clone(), public]);
}

#[test]
fn refuses_what_signs_and_what_it_does_not_know() {
    let p521 = include_str!("../../testdata/ec-p521.pub.pem");
    let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (text, message) in [
        (private.to_owned(), "holds a private key; put only the public key there (openssl pkey -pubout)"),
        (
            private.replace("PRIVATE", "EC PRIVATE"),
            "holds a private key; put only the public key there (openssl pkey -pubout)",
        ),
        (format!("{RSA}{private}"), "holds a private key; put only the public key there (openssl pkey -pubout)"),
        (json!({"kty": "EC", "d": "AA"}).to_string(), "holds a private key; put only the public key there"),
        (
            json!({"keys": [{"kty": "RSA", "p": "AA"}]}).to_string(),
            "holds a private key; put only the public key there",
        ),
        (
            json!({"kty": "oct", "k": "AA"}).to_string(),
            "holds a symmetric key; tokens are verified with public keys only",
        ),
        (
            RSA.replace("PUBLIC KEY", "CERTIFICATE"),
            "holds a certificate; put its public key there (openssl x509 -pubkey -noout)",
        ),
        (RSA.replace("PUBLIC KEY", "THING"), "the PEM block \"THING\" is not a public key"),
        (p521.to_owned(), "a public key is on a curve that is not supported; P-256 and P-384 are"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA".into(), "the PEM block \"PUBLIC KEY\" does not end"),
        (
            "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----".into(),
            "the PEM block \"PUBLIC KEY\" is not base64",
        ),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----".into(), "a public key is malformed"),
        ("{}".into(), "a key has no \"kty\": neither a JWK nor a JWK set"),
        ("{\"keys\": {}}".into(), "\"keys\" is not a list"),
        ("{\"keys\": []}".into(), "holds no key"),
        ("{\"keys\": [1]}".into(), "a key is not a JSON object"),
        ("ssh-rsa AAAA".into(), "neither a JWK, nor a JWK set, nor PEM"),
        (String::new(), "neither a JWK, nor a JWK set, nor PEM"),
    ] {
        assert_eq!(normalise(&text), Err(message.to_owned()), "{text}");
    }
    assert!(normalise("{").expect_err("is cut off").starts_with("not JSON: "));
}

proptest! {
    #[test]
    fn arbitrary_der_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120), cut in 0usize..300, flip in 0usize..300) {
        use base64::Engine as _;
        let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
        let pem = |bytes: &[u8]| format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", encode(bytes));
        let _ = normalise(&pem(&bytes));
        let body: String = RSA.lines().filter(|l| !l.starts_with('-')).collect();
        let mut der = base64::engine::general_purpose::STANDARD.decode(body).expect("base64");
        let at = flip % der.len();
        der[at] ^= bytes.first().copied().unwrap_or(0x80);
        der.truncate(der.len().saturating_sub(cut));
        let _ = normalise(&pem(&der));
    }
}
