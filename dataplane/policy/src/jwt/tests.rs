use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA384, RsaEncoding, RsaKeyPair,
};
use serde_json::json;

use super::*;
use crate::testing::{context, request};

const NOW: u64 = 1_800_000_000;

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn claims() -> Value {
    json!({"iss": "issuer", "aud": "us", "sub": "alice", "exp": NOW + 600})
}

/// A key pair with its public half as a JWK.
enum Signer {
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    fn rsa() -> Signer {
        let pair = RsaKeyPair::from_pkcs8(include_bytes!("../../testdata/rsa-for-tests-only.p8")).expect("a key");
        Signer::Rsa(Box::new(pair), &RSA_PKCS1_SHA256)
    }

    fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> Signer {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        Signer::Ecdsa(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("a key"))
    }

    fn ed25519() -> Signer {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        Signer::Ed25519(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key"))
    }

    fn jwk(&self) -> Value {
        match self {
            Signer::Rsa(pair, _) => {
                let public: ring::signature::RsaPublicKeyComponents<Vec<u8>> = pair.public().into();
                json!({"kty": "RSA", "n": encode(public.n), "e": encode(public.e)})
            }
            Signer::Ecdsa(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let crv = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": crv, "x": encode(x), "y": encode(y)})
            }
            Signer::Ed25519(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key())}),
        }
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let random = SystemRandom::new();
        let signature = match self {
            Signer::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &random, signed.as_bytes(), &mut signature).expect("signs");
                signature
            }
            Signer::Ecdsa(pair) => pair.sign(&random, signed.as_bytes()).expect("signs").as_ref().to_vec(),
            Signer::Ed25519(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        format!("{signed}.{}", encode(signature))
    }
}

fn with(mut value: Value, name: &str, member: Value) -> Value {
    value.as_object_mut().expect("an object").insert(name.into(), member);
    value
}

fn spec(keys: &[Value], mode: Mode) -> v1::JwtAuthentication {
    v1::JwtAuthentication {
        providers: vec![v1::JwtProvider {
            issuer: "issuer".into(),
            audiences: vec!["us".into(), "them".into()],
            jwks: json!({ "keys": keys }).to_string(),
            ..Default::default()
        }],
        mode: mode.into(),
        ..Default::default()
    }
}

fn policy(keys: &[Value]) -> JwtAuthentication {
    make(&spec(keys, Mode::Strict)).expect("compiles")
}

fn make(spec: &v1::JwtAuthentication) -> Result<JwtAuthentication, String> {
    JwtAuthentication::compile(spec, &State::new())
}

fn verify(policy: &JwtAuthentication, token: &str) -> Result<(), &'static str> {
    policy.verify(token, NOW as f64).map(|_| ()).map_err(|failure| match failure {
        Failure::Invalid(reason) | Failure::NoKey(reason, _) => reason,
        Failure::NoKeys(_) => "no keys",
        Failure::Absent => "absent",
    })
}

#[test]
fn verifies_every_supported_algorithm() {
    let pss = match Signer::rsa() {
        Signer::Rsa(pair, _) => Signer::Rsa(pair, &RSA_PSS_SHA384),
        other => other,
    };
    for (algorithm, signer) in [
        ("RS256", Signer::rsa()),
        ("PS384", pss),
        ("ES256", Signer::ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING)),
        ("ES384", Signer::ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING)),
        ("EdDSA", Signer::ed25519()),
    ] {
        let policy = policy(&[signer.jwk()]);
        let token = signer.sign(&json!({ "alg": algorithm }), &claims());
        assert_eq!(verify(&policy, &token), Ok(()), "{algorithm}");
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let (header, _) = signed.split_once('.').expect("three parts");
        let forged = format!("{header}.{}.{signature}", encode(with(claims(), "sub", json!("mallory")).to_string()));
        assert_eq!(verify(&policy, &forged), Err("the token's signature does not verify"), "{algorithm}");
    }
}

#[test]
fn the_token_does_not_choose_the_algorithm() {
    let signer = Signer::rsa();
    let policy = policy(&[signer.jwk()]);
    let unfit = Err("no key fits the token's key id and algorithm");
    let signed = |alg: &str| format!("{}.{}", encode(json!({ "alg": alg }).to_string()), encode(claims().to_string()));
    for alg in ["none", "None", "", "HS256", "ES256", "EdDSA"] {
        assert_eq!(verify(&policy, &format!("{}.", signed(alg))), unfit, "{alg}");
    }
    // The public key as the secret of an HMAC: what an implementation that asks the token would accept.
    let jwk = signer.jwk();
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, jwk["n"].as_str().expect("text").as_bytes());
    let tag = ring::hmac::sign(&secret, signed("HS256").as_bytes());
    assert_eq!(verify(&policy, &format!("{}.{}", signed("HS256"), encode(tag))), unfit);
    // A signature of one RSA scheme does not pass for another.
    let mixed = signer.sign(&json!({"alg": "PS256"}), &claims());
    assert_eq!(verify(&policy, &mixed), Err("the token's signature does not verify"));
    let only_rs512 = self::policy(&[with(signer.jwk(), "alg", json!("RS512"))]);
    assert_eq!(verify(&only_rs512, &signer.sign(&json!({"alg": "RS256"}), &claims())), unfit);
}

#[test]
fn selects_the_key_that_the_token_names() {
    let (a, b, nameless) = (Signer::ed25519(), Signer::ed25519(), Signer::ed25519());
    let id = |signer: &Signer, id: &str| with(signer.jwk(), "kid", json!(id));
    let policy = policy(&[id(&a, "a"), id(&b, "b"), nameless.jwk()]);
    let header = |kid: &str| json!({"alg": "EdDSA", "kid": kid});
    assert_eq!(verify(&policy, &a.sign(&header("a"), &claims())), Ok(()));
    assert_eq!(verify(&policy, &b.sign(&header("b"), &claims())), Ok(()));
    assert!(verify(&policy, &a.sign(&header("b"), &claims())).is_err());
    assert!(verify(&policy, &a.sign(&header("c"), &claims())).is_err());
    assert_eq!(verify(&policy, &nameless.sign(&header("c"), &claims())), Ok(()));
    assert_eq!(verify(&policy, &b.sign(&json!({"alg": "EdDSA"}), &claims())), Ok(()));
}

#[test]
fn checks_what_the_token_claims() {
    let signer = Signer::ed25519();
    let policy = policy(&[signer.jwk()]);
    let token = |name: &str, member: Value| signer.sign(&json!({"alg": "EdDSA"}), &with(claims(), name, member));
    for (name, member, expected) in [
        ("iss", json!("other"), Err("no provider knows the token's issuer")),
        ("iss", json!(["issuer"]), Err("no provider knows the token's issuer")),
        ("aud", json!("other"), Err("the token is for another audience")),
        ("aud", json!(["other", "them"]), Ok(())),
        ("aud", json!([]), Err("the token is for another audience")),
        ("exp", json!(NOW - 29), Ok(())),
        ("exp", json!(NOW - 30), Err("the token has expired")),
        ("exp", json!(NOW as f64 + 0.5), Ok(())),
        ("exp", json!("4000000000"), Err("a time in the token is not a number")),
        ("exp", json!(-1e300), Err("the token has expired")),
        ("nbf", json!(NOW + 30), Ok(())),
        ("nbf", json!(NOW + 31), Err("the token is not valid yet")),
        ("nbf", json!(null), Err("a time in the token is not a number")),
    ] {
        assert_eq!(verify(&policy, &token(name, member.clone())), expected, "{name} {member}");
    }
    let mut eternal = claims();
    eternal.as_object_mut().expect("an object").remove("exp");
    assert_eq!(
        verify(&policy, &signer.sign(&json!({"alg": "EdDSA"}), &eternal)),
        Err("the token has no time of expiry")
    );
    let any = v1::JwtAuthentication {
        providers: vec![v1::JwtProvider {
            audiences: vec![],
            ..spec(&[signer.jwk()], Mode::Strict).providers.remove(0)
        }],
        ..Default::default()
    };
    assert_eq!(verify(&make(&any).expect("compiles"), &token("aud", json!("x"))), Ok(()));
}

#[test]
fn a_remembered_token_ends_when_it_expires() {
    let signer = Signer::ed25519();
    let policy = policy(&[signer.jwk()]);
    let token = signer.sign(&json!({"alg": "EdDSA"}), &claims());
    let first = policy.verify(&token, NOW as f64).expect("verifies");
    let second = policy.verify(&token, NOW as f64).expect("verifies");
    assert!(Arc::ptr_eq(&first, &second), "the second time comes from the cache");
    let later = policy.verify(&token, (NOW + 600 + 30) as f64);
    assert!(matches!(later, Err(Failure::Invalid("the token has expired"))));
    let others = self::policy(&[Signer::ed25519().jwk()]);
    assert!(others.verify(&token, NOW as f64).is_err(), "another policy does not see it");
}

#[test]
fn malformed_tokens_are_refused() {
    let signer = Signer::ed25519();
    let policy = policy(&[signer.jwk()]);
    let header = json!({"alg": "EdDSA"});
    let critical = signer.sign(&json!({"alg": "EdDSA", "crit": ["exp"]}), &claims());
    assert_eq!(verify(&policy, &critical), Err("the token uses an extension that is not supported"));
    assert_eq!(verify(&policy, &"a".repeat(MAX_TOKEN_BYTES + 1)), Err("the token is too long"));
    for bad in [
        String::new(),
        "a".into(),
        "a.b".into(),
        "..".into(),
        "a.b.c.d".into(),
        format!("{}.{}.x y", encode("{}"), encode("{}")),
        signer.sign(&json!([]), &claims()),
        signer.sign(&header, &json!([1])),
        format!("{}=", signer.sign(&header, &claims())),
    ] {
        assert!(verify(&policy, &bad).is_err(), "{bad}");
    }
}

/// Answer (0 for none), claims' subject and the header that is left, for a request with these Authorization headers.
fn on_request(mode: Mode, authorization: &[&str]) -> (u16, Option<String>, bool) {
    let policy = make(&spec(&[test_signer().jwk()], mode)).expect("compiles");
    let headers: Vec<(&str, &str)> = authorization.iter().map(|v| ("authorization", *v)).collect();
    let (mut head, mut context) = (request("GET", "/", &headers), context());
    let answer = policy.on_request(&mut head, &mut context).err();
    if let Some(reply) = &answer {
        let challenge = reply.response.headers()["www-authenticate"].to_str().expect("text");
        assert_eq!(
            challenge.contains("invalid_token"),
            reply.reason != Reason::Unauthenticated(Scheme::Jwt, "there is no token")
        );
    }
    let subject = context.claims.as_ref().map(|c| c["sub"].as_str().expect("text").to_owned());
    assert_eq!(context.claims.is_some(), !context.credentials.is_empty());
    (answer.map_or(0, |r| r.response.status().as_u16()), subject, head.headers.contains_key("authorization"))
}

/// One key for the tests of requests, whose clock is the real one.
fn test_signer() -> Signer {
    Signer::rsa()
}

fn valid() -> String {
    format!("Bearer {}", test_signer().sign(&json!({"alg": "RS256"}), &with(claims(), "exp", json!(4_000_000_000_u64))))
}

#[test]
fn modes_decide_about_requests_without_a_valid_token() {
    let valid = valid();
    let broken = format!("{valid}A");
    let alice = Some("alice".to_owned());
    for (mode, authorization, expected) in [
        (Mode::Strict, vec![&*valid], (0, alice.clone(), false)),
        (Mode::Strict, vec![], (401, None, false)),
        (Mode::Strict, vec!["Basic abc"], (401, None, true)),
        (Mode::Strict, vec![&*broken], (401, None, true)),
        (Mode::Strict, vec![&*valid, &*valid], (401, None, true)),
        (Mode::Optional, vec![&*valid], (0, alice.clone(), false)),
        (Mode::Optional, vec![], (0, None, false)),
        (Mode::Optional, vec!["Basic abc"], (0, None, true)),
        (Mode::Optional, vec![&*broken], (401, None, true)),
        (Mode::Permissive, vec![&*valid], (0, alice, false)),
        (Mode::Permissive, vec![], (0, None, false)),
        (Mode::Permissive, vec![&*broken], (0, None, true)),
    ] {
        assert_eq!(on_request(mode, &authorization), expected, "{mode:?} {authorization:?}");
    }
    assert_eq!(on_request(Mode::Strict, &[&valid.replace("Bearer", "bEARER")]).0, 0);
}

#[test]
fn a_second_policy_sees_the_token_that_the_first_took_off() {
    let policy = make(&spec(&[test_signer().jwk()], Mode::Strict)).expect("compiles");
    let valid = valid();
    let (mut head, mut context) = (request("GET", "/", &[("authorization", &valid)]), context());
    for _ in 0..2 {
        policy.on_request(&mut head, &mut context).expect("is let through");
    }
    let credentials = context.credentials.authorization().cloned().expect("kept");
    assert!(credentials.is_sensitive(), "it is not printed");
    context.credentials.put_back(&mut head);
    assert_eq!(head.headers["authorization"], *valid);
}

#[test]
fn refuses_sets_without_usable_public_keys() {
    let compile = |keys: Value| {
        let provider = v1::JwtProvider { issuer: "i".into(), jwks: keys.to_string(), ..Default::default() };
        let spec = v1::JwtAuthentication { providers: vec![provider], ..Default::default() };
        make(&spec).map(|_| ()).expect_err("must not compile")
    };
    let ec = Signer::ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING).jwk();
    for (keys, message) in [
        (json!([]), "keys of issuer \"i\": not a JWK set"),
        (json!({"keys": []}), "keys of issuer \"i\": no key can verify signatures: the set is empty"),
        (
            json!({"keys": [with(ec.clone(), "d", json!("AA"))]}),
            "keys of issuer \"i\": the set holds a private or symmetric key",
        ),
        (
            json!({"keys": [{"kty": "oct", "k": "AA"}]}),
            "keys of issuer \"i\": the set holds a private or symmetric key",
        ),
        (
            json!({"keys": [with(ec.clone(), "use", json!("enc"))]}),
            "keys of issuer \"i\": no key can verify signatures: a key is not for",
        ),
        (
            json!({"keys": [with(ec.clone(), "alg", json!("RS256"))]}),
            "keys of issuer \"i\": no key can verify signatures: a key is for RS256",
        ),
        (
            json!({"keys": [with(ec, "x", json!("AAAA"))]}),
            "keys of issuer \"i\": no key can verify signatures: \"x\" of a key has a wrong length",
        ),
        (
            json!({"keys": [{"kty": "EC", "crv": "P-521"}]}),
            "keys of issuer \"i\": no key can verify signatures: a key of type EC on the curve P-521",
        ),
        (
            json!({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}),
            "keys of issuer \"i\": no key can verify signatures: an RSA key has 24 bits",
        ),
    ] {
        let found = compile(keys);
        assert!(found.starts_with(message), "{found}");
    }
    assert!(make(&v1::JwtAuthentication { mode: 9, ..spec(&[Signer::ed25519().jwk()], Mode::Strict) }).is_err());
    assert!(make(&v1::JwtAuthentication::default()).is_err());
}

fn location(kind: v1::credential_location::Kind) -> v1::CredentialLocation {
    v1::CredentialLocation { kind: Some(kind) }
}

#[test]
fn tokens_are_found_where_the_policy_says_and_nowhere_else() {
    let signer = test_signer();
    let token = signer.sign(&json!({"alg": "RS256"}), &with(claims(), "exp", json!(4_000_000_000_u64)));
    let locations = vec![location(v1::credential_location::Kind::QueryParameter("access_token".into()))];
    let policy = make(&v1::JwtAuthentication { locations, ..spec(&[signer.jwk()], Mode::Strict) }).expect("compiles");
    let (mut head, mut context) = (request("GET", &format!("/a?access_token={token}&b=1"), &[]), context());
    policy.on_request(&mut head, &mut context).expect("passes");
    assert_eq!(head.uri, "/a?b=1");
    let bearer = format!("Bearer {token}");
    let mut head = request("GET", "/", &[("authorization", &bearer)]);
    assert!(policy.on_request(&mut head, &mut crate::testing::context()).is_err());
}

#[test]
fn required_claims_and_the_clocks_difference_are_the_policys() {
    let signer = Signer::ed25519();
    let token = |claims: &Value| signer.sign(&json!({"alg": "EdDSA"}), claims);
    let mut of = spec(&[signer.jwk()], Mode::Strict);
    of.clock_skew_milliseconds = Some(0);
    of.providers[0].required_claims = vec![v1::RequiredClaim { name: "roles".into(), values: vec!["admin".into()] }];
    let policy = make(&of).expect("compiles");
    let admin = with(claims(), "roles", json!(["admin"]));
    assert_eq!(verify(&policy, &token(&admin)), Ok(()));
    assert_eq!(verify(&policy, &token(&claims())), Err("the token lacks a claim that is required"));
    assert_eq!(verify(&policy, &token(&with(admin.clone(), "exp", json!(NOW)))), Err("the token has expired"));
    assert_eq!(verify(&policy, &token(&with(admin, "nbf", json!(NOW + 1)))), Err("the token is not valid yet"));
}

/// Status of the answer, 200 for none.
fn status(answer: Result<(), Reply>) -> u16 {
    answer.err().map_or(200, |reply| reply.response.status().as_u16())
}

#[tokio::test(start_paused = true)]
async fn keys_of_a_url_are_waited_for_and_asked_for_again_when_they_change() {
    let state = State::new();
    let (old, new) = (Signer::ed25519(), Signer::ed25519());
    let remote = v1::RemoteJwks { url: "https://issuer.example/jwks".into(), ..Default::default() };
    let mut of = spec(&[], Mode::Strict);
    of.providers[0].jwks.clear();
    of.providers[0].remote_jwks = Some(remote);
    let policy = JwtAuthentication::compile(&of, &state).expect("compiles");
    assert!(policy.may_wait());
    let keys = state.next_keys().await.upgrade().expect("in use");
    let exp = with(claims(), "exp", json!(4_000_000_000_u64));
    let ask = async |signer: &Signer, id: &str| {
        let bearer = format!("Bearer {}", signer.sign(&json!({"alg": "EdDSA", "kid": id}), &exp));
        let mut head = request("GET", "/", &[("authorization", &bearer)]);
        status(policy.on_request_or_wait(&mut head, &mut context()).await)
    };
    assert_eq!(ask(&old, "old").await, 503, "nobody knows whether it is valid");
    let jwks = |signer: &Signer, id: &str| json!({"keys": [with(signer.jwk(), "kid", json!(id))]}).to_string();
    keys.set(&jwks(&old, "old")).expect("a set");
    keys.ended();
    assert_eq!([ask(&old, "old").await, ask(&old, "old").await], [200, 200], "verified, then remembered");
    // The issuer has new keys: the first token with one fetches them.
    tokio::time::advance(crate::limits::REFETCH_INTERVAL).await;
    let fetcher = {
        let (keys, text) = (Arc::clone(&keys), jwks(&new, "new"));
        let mut asked = keys.asked();
        tokio::spawn(async move {
            asked.changed().await.expect("asked for");
            keys.set(&text).expect("a set");
            keys.ended();
        })
    };
    assert_eq!(ask(&new, "new").await, 200);
    fetcher.await.expect("fetches");
    assert_eq!(ask(&old, "old").await, 401, "a key that was withdrawn verifies nothing, remembered or not");
    assert_eq!(ask(&new, "x").await, 401, "an unknown key is no reason to fetch again at once");
}

proptest! {
    #[test]
    fn arbitrary_tokens_never_panic_and_never_pass(token in "\\PC{0,120}") {
        let policy = policy(&[json!({"kty": "OKP", "crv": "Ed25519", "x": encode([1; 32])})]);
        prop_assert!(verify(&policy, &token).is_err());
    }

    #[test]
    fn arbitrary_headers_and_claims_never_panic_and_never_pass(
        header in prop_oneof![
            "\\PC{0,40}",
            (".{0,8}", ".{0,8}").prop_map(|(alg, kid)| json!({"alg": alg, "kid": kid}).to_string()),
            Just(json!({"alg": "EdDSA"}).to_string()),
        ],
        claims in prop_oneof!["\\PC{0,40}", Just(claims().to_string())],
        signature in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let policy = policy(&[json!({"kty": "OKP", "crv": "Ed25519", "x": encode([1; 32])})]);
        let token = format!("{}.{}.{}", encode(header), encode(claims), encode(signature));
        prop_assert!(verify(&policy, &token).is_err());
    }

    #[test]
    fn arbitrary_key_sets_never_panic(text in "\\PC{0,80}", member in "\\PC{0,12}") {
        for jwks in [text, json!({"keys": [{"kty": "EC", "crv": "P-256", "x": member, "y": member}]}).to_string()] {
            let provider = v1::JwtProvider { issuer: "i".into(), jwks, ..Default::default() };
            let spec = v1::JwtAuthentication { providers: vec![provider], ..Default::default() };
            prop_assert!(make(&spec).is_err());
        }
    }
}
