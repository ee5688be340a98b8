//! Checks the tokens of proxies by TokenReview, and remembers the good ones, so that an outage of the API server breaks no
//! stream and refuses no proxy that reconnects.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use agentgateway_controlplane_xds::{Allowed, Authenticator, Refusal};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::Instant;

/// Audience of the tokens: a token for anything else is of no use here, and these are of no use elsewhere.
pub(crate) const AUDIENCE: &str = "agentgateway.kgateway.dev/xds";
/// A token is reviewed again after this time, as long as there is an API server to ask.
const REVIEW_AGAIN: Duration = Duration::from_secs(60);
/// Longest time that a token whose end is not known is remembered.
const DEFAULT_LIFE: Duration = Duration::from_secs(600);
/// Longest time that any token is remembered.
const MAX_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Tokens remembered; proxies rotate theirs every hour or so.
const MAX_TOKENS: usize = 10_000;

/// Reviews tokens: the API server, or a test.
#[tonic::async_trait]
pub(crate) trait Reviewer: Send + Sync + 'static {
    /// The ServiceAccount ("namespace/name") that the token belongs to.
    async fn review(&self, token: &str) -> Result<String, Refusal>;
}

/// The API server as reviewer.
pub(crate) struct ApiServer {
    api: Api<TokenReview>,
}

impl ApiServer {
    /// Asks through this client.
    pub(crate) fn new(client: Client) -> ApiServer {
        ApiServer { api: Api::all(client) }
    }
}

#[tonic::async_trait]
impl Reviewer for ApiServer {
    async fn review(&self, token: &str) -> Result<String, Refusal> {
        let review = TokenReview {
            metadata: ObjectMeta::default(),
            spec: TokenReviewSpec { token: token.to_owned(), audiences: Some(vec![AUDIENCE.to_owned()]) },
            status: None,
        };
        let parameters = PostParams::default();
        let answer = tokio::time::timeout(CALL_TIMEOUT, self.api.create(&parameters, &review))
            .await
            .map_err(|_| Refusal::Unavailable("the API server does not answer".to_owned()))?
            .map_err(|error| Refusal::Unavailable(error.to_string()))?;
        account(answer)
    }
}

fn account(review: TokenReview) -> Result<String, Refusal> {
    let status = review.status.unwrap_or_default();
    if status.authenticated != Some(true) {
        let reason = status.error.unwrap_or_else(|| "the API server does not know it".to_owned());
        return Err(Refusal::Invalid(reason));
    }
    // An API server that ignores audiences answers with none.
    if !status.audiences.unwrap_or_default().iter().any(|audience| audience == AUDIENCE) {
        return Err(Refusal::Invalid(format!("it is not for audience {AUDIENCE}")));
    }
    let user = status.user.and_then(|user| user.username).unwrap_or_default();
    match user.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':')) {
        Some((namespace, name)) => Ok(format!("{namespace}/{name}")),
        None => Err(Refusal::Invalid(format!("{user:?} is no ServiceAccount"))),
    }
}

struct Known {
    account: String,
    review_again: Instant,
    expires: Instant,
}

/// Maps tokens to gateways.
pub(crate) struct Tokens<R, L> {
    reviewer: R,
    gateway_of: L,
    known: Mutex<HashMap<blake3::Hash, Known>>,
}

impl<R: Reviewer, L: Fn(&str) -> Option<String> + Send + Sync + 'static> Tokens<R, L> {
    /// `gateway_of` maps a ServiceAccount to the Gateway whose proxies run as it.
    pub(crate) fn new(reviewer: R, gateway_of: L) -> Self {
        Tokens { reviewer, gateway_of, known: Mutex::default() }
    }

    async fn account(&self, token: &str) -> Result<String, Refusal> {
        let hash = blake3::hash(token.as_bytes());
        let now = Instant::now();
        let remembered = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.get(&hash).is_some_and(|k| k.expires <= now) {
                known.remove(&hash);
            }
            known.get(&hash).map(|k| (k.account.clone(), k.review_again))
        };
        if let Some((account, review_again)) = &remembered
            && *review_again > now
        {
            return Ok(account.clone());
        }
        match self.reviewer.review(token).await {
            Ok(account) => {
                self.remember(hash, account.clone(), life(token));
                Ok(account)
            }
            Err(Refusal::Invalid(reason)) => {
                self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash);
                Err(Refusal::Invalid(reason))
            }
            Err(unavailable) => match remembered {
                Some((account, _)) => {
                    tracing::warn!(account, %unavailable, "a proxy is let in by a token that was good before");
                    Ok(account)
                }
                None => Err(unavailable),
            },
        }
    }

    fn remember(&self, hash: blake3::Hash, account: String, life: Duration) {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_TOKENS {
            known.retain(|_, k| k.expires > now);
        }
        if known.len() < MAX_TOKENS {
            known.insert(hash, Known { account, review_again: now + REVIEW_AGAIN, expires: now + life });
        }
    }
}

#[tonic::async_trait]
impl<R: Reviewer, L: Fn(&str) -> Option<String> + Send + Sync + 'static> Authenticator for Tokens<R, L> {
    async fn authenticate(&self, token: &str) -> Result<Allowed, Refusal> {
        let account = self.account(token).await?;
        (self.gateway_of)(&account)
            .map(Allowed::Gateway)
            .ok_or_else(|| Refusal::Invalid(format!("no Gateway's proxies run as ServiceAccount {account}")))
    }
}

/// Time until the token ends by its own words, which the API server has verified.
fn life(token: &str) -> Duration {
    let expires = || {
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        serde_json::from_slice::<serde_json::Value>(&payload).ok()?.get("exp")?.as_u64()
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    expires().map_or(DEFAULT_LIFE, |at| Duration::from_secs(at.saturating_sub(now)).min(MAX_LIFE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::authentication::v1::{TokenReviewStatus, UserInfo};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Clone, Default)]
    struct Fake {
        calls: Arc<AtomicUsize>,
        answer: Arc<Mutex<Option<Refusal>>>,
    }

    #[tonic::async_trait]
    impl Reviewer for Fake {
        async fn review(&self, _: &str) -> Result<String, Refusal> {
            self.calls.fetch_add(1, Ordering::Relaxed);
            self.answer.lock().expect("lock").clone().map_or_else(|| Ok("infra/gw".to_owned()), Err)
        }
    }

    fn tokens(fake: &Fake) -> Tokens<Fake, impl Fn(&str) -> Option<String> + Send + Sync + 'static> {
        Tokens::new(fake.clone(), |account: &str| (account == "infra/gw").then(|| "infra/gateway".to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_good_token_outlives_an_outage_of_the_api_server_until_it_expires() {
        let fake = Fake::default();
        let tokens = tokens(&fake);
        let good = Ok(Allowed::Gateway("infra/gateway".to_owned()));
        assert_eq!(tokens.authenticate("t").await, good);
        assert_eq!(tokens.authenticate("t").await, good);
        assert_eq!(fake.calls.load(Ordering::Relaxed), 1, "remembered");

        *fake.answer.lock().expect("lock") = Some(Refusal::Unavailable("down".to_owned()));
        tokio::time::advance(REVIEW_AGAIN).await;
        assert_eq!(tokens.authenticate("t").await, good);
        assert_eq!(fake.calls.load(Ordering::Relaxed), 2, "it was asked, in vain");
        assert!(matches!(tokens.authenticate("other").await, Err(Refusal::Unavailable(_))));

        tokio::time::advance(DEFAULT_LIFE).await;
        assert!(matches!(tokens.authenticate("t").await, Err(Refusal::Unavailable(_))), "it has expired");
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_was_revoked_is_refused_at_its_next_review() {
        let fake = Fake::default();
        let tokens = tokens(&fake);
        assert!(tokens.authenticate("t").await.is_ok());
        *fake.answer.lock().expect("lock") = Some(Refusal::Invalid("revoked".to_owned()));
        tokio::time::advance(REVIEW_AGAIN).await;
        assert!(matches!(tokens.authenticate("t").await, Err(Refusal::Invalid(_))));
        *fake.answer.lock().expect("lock") = Some(Refusal::Unavailable("down".to_owned()));
        assert!(matches!(tokens.authenticate("t").await, Err(Refusal::Unavailable(_))), "and forgotten");
    }

    #[test]
    fn only_a_service_account_with_our_audience_counts() {
        let review = |authenticated, audience: &str, user: &str| TokenReview {
            status: Some(TokenReviewStatus {
                authenticated: Some(authenticated),
                audiences: Some(vec![audience.to_owned()]),
                user: Some(UserInfo { username: Some(user.to_owned()), ..Default::default() }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let sa = "system:serviceaccount:infra:gw";
        assert_eq!(account(review(true, AUDIENCE, sa)), Ok("infra/gw".to_owned()));
        assert!(account(review(false, AUDIENCE, sa)).is_err());
        assert!(account(review(true, "https://kubernetes.default.svc", sa)).is_err());
        assert!(account(review(true, AUDIENCE, "admin")).is_err());
    }

    #[test]
    fn life_ends_with_the_token() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("time").as_secs();
        let token = |exp: u64| format!("h.{}.s", URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{exp}}}"#)));
        assert!(life(&token(now + 100)) <= Duration::from_secs(100));
        assert_eq!(life(&token(now - 1)), Duration::ZERO);
        assert_eq!(life("no jwt"), DEFAULT_LIFE);
    }
}
