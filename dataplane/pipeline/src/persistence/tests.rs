use super::*;

const BACKEND: &str = "Service/ns/s/80";

fn policy(carrier: Carrier) -> SessionPersistence {
    SessionPersistence { carrier, absolute_timeout: None, idle_timeout: None }
}

fn by_cookie() -> SessionPersistence {
    policy(Carrier::Cookie { name: "session".into(), permanent: false })
}

fn context() -> RequestContext {
    RequestContext::new("10.0.0.9:1000".parse().expect("address"), "http", 80)
}

fn address() -> Option<SocketAddr> {
    Some("10.0.0.1:8080".parse().expect("address"))
}

fn at(policy: &SessionPersistence, seconds: u64, sent: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(sent) = sent {
        headers.insert(COOKIE, format!("other=1; {sent}").parse().expect("value"));
    }
    let mut answer = HeaderMap::new();
    Session::of(policy, &headers, Duration::from_secs(seconds)).answer(BACKEND, address(), &context(), &mut answer);
    answer
}

/// The cookie that a first answer sets, as clients send it back.
fn cookie_of(answer: &HeaderMap) -> String {
    let set = answer[SET_COOKIE].to_str().expect("text");
    set.split(';').next().expect("a pair").to_owned()
}

fn place(policy: &SessionPersistence, seconds: u64, sent: &str, backend: &str) -> Option<Option<SocketAddr>> {
    let mut headers = HeaderMap::new();
    headers.insert(COOKIE, sent.parse().expect("value"));
    Session::of(policy, &headers, Duration::from_secs(seconds)).place(backend).map(|p| p.endpoint)
}

#[test]
fn a_token_leads_back_to_its_endpoint_and_to_no_other_backend() {
    let policy = by_cookie();
    let cookie = cookie_of(&at(&policy, 1000, None));
    assert_eq!(place(&policy, 1001, &cookie, BACKEND), Some(address()));
    assert_eq!(place(&policy, 1001, &cookie, "Service/ns/other/80"), None);
    assert!(!at(&policy, 1001, Some(&cookie)).contains_key(SET_COOKIE), "the client knows it already");
}

#[test]
fn ipv6_and_backends_without_endpoints() {
    let v6 = Some("[2001:db8::1]:443".parse().expect("address"));
    for endpoint in [v6, None] {
        let place = Place { endpoint, created: 5, used: 6 };
        assert_eq!(open(&seal(BACKEND, &place), BACKEND), Some(place));
    }
}

#[test]
fn a_changed_token_is_none() {
    let token = seal(BACKEND, &Place { endpoint: address(), created: 1000, used: 1000 });
    for at in 0..LENGTH {
        let mut changed = token;
        changed[at] ^= 1;
        assert_eq!(open(&changed, BACKEND), None, "byte {at}");
    }
    let text = URL_SAFE_NO_PAD.encode(token);
    assert!(!text.contains(&URL_SAFE_NO_PAD.encode([10, 0, 0, 1])));
    for bad in ["session=", "session=x", "session=%%%", &format!("session={text}AAAA")] {
        assert_eq!(place(&by_cookie(), 1001, bad, BACKEND), None, "{bad}");
    }
}

#[test]
fn sessions_end_after_their_whole_and_their_idle_time() {
    let second = Duration::from_secs(1);
    let policy =
        SessionPersistence { absolute_timeout: Some(100 * second), idle_timeout: Some(10 * second), ..by_cookie() };
    let first = cookie_of(&at(&policy, 1000, None));
    assert_eq!(place(&policy, 1009, &first, BACKEND), Some(address()));
    assert_eq!(place(&policy, 1010, &first, BACKEND), None, "idle for too long");
    // Each request with the newest token prolongs the idle time, not the whole.
    let mut cookie = first;
    for seconds in (1005..1100).step_by(5) {
        cookie = cookie_of(&at(&policy, seconds, Some(&cookie)));
    }
    assert_eq!(place(&policy, 1099, &cookie, BACKEND), Some(address()));
    assert_eq!(place(&policy, 1100, &cookie, BACKEND), None, "as a whole too long");
    assert_eq!(place(&policy, 900, &cookie, BACKEND), None, "from the future");
}

#[test]
fn cookies_carry_their_attributes() {
    let policy = SessionPersistence {
        carrier: Carrier::Cookie { name: "session".into(), permanent: true },
        absolute_timeout: Some(Duration::from_secs(3600)),
        idle_timeout: None,
    };
    let mut context = context();
    context.scheme = "https";
    context.matched_prefix = Some("/shop/".into());
    let mut answer = HeaderMap::new();
    Session::of(&policy, &HeaderMap::new(), Duration::from_secs(5)).answer(BACKEND, address(), &context, &mut answer);
    let cookie = answer[SET_COOKIE].to_str().expect("text").to_owned();
    assert!(cookie.ends_with("; Path=/shop; HttpOnly; Secure; Max-Age=3600"), "{cookie}");
    context.matched_prefix = Some("/a;b".into());
    assert_eq!(cookie_path(&context), "/");
    assert!(at(&by_cookie(), 5, None)[SET_COOKIE].to_str().expect("text").ends_with("; Path=/; HttpOnly"));
}

#[test]
fn a_header_carries_the_token_too() {
    let policy = policy(Carrier::Header("x-session".parse().expect("name")));
    let mut answer = HeaderMap::new();
    Session::of(&policy, &HeaderMap::new(), Duration::from_secs(5)).answer(BACKEND, address(), &context(), &mut answer);
    let session = Session::of(&policy, &answer, Duration::from_secs(6));
    assert_eq!(session.place(BACKEND).and_then(|p| p.endpoint), address());
}
