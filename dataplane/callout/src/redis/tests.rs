use std::time::Duration;

use agentgateway_upstream::{AddressRules, EndpointRegistry, Host, Protocol, Resolver};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

fn upstream() -> Upstream {
    let rules = AddressRules { allow_loopback: true, ..AddressRules::default() };
    Upstream::new(Resolver::system(tokio::runtime::Handle::current()), Arc::new(rules))
}

async fn server() -> (TcpListener, Arc<Cluster>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("address").port();
    let host = Host { name: "127.0.0.1".into(), port };
    let authority = format!("127.0.0.1:{port}").parse().expect("authority");
    let registry = Arc::new(EndpointRegistry::default());
    (listener, Arc::new(Cluster::hosts(authority, vec![host], Protocol::Http1.into(), registry)))
}

async fn local<T>(future: impl Future<Output = T>) -> T {
    tokio::task::LocalSet::new().run_until(future).await
}

/// Answers every command on one connection after the other with the next of these texts; closes after the last.
async fn answer(listener: &TcpListener, answers: &[&str]) -> String {
    let (mut stream, _) = listener.accept().await.expect("accepts");
    let mut heard = String::new();
    for answer in answers {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).await.expect("reads");
        heard += &String::from_utf8_lossy(&bytes[..read]);
        stream.write_all(answer.as_bytes()).await.expect("writes");
    }
    heard
}

#[tokio::test]
async fn logs_in_before_the_first_command_and_keeps_the_connection() {
    local(async {
        let (listener, cluster) = server().await;
        let login = Arc::new(Login { username: "ada".into(), password: "s3cret".into(), database: 2 });
        let upstream = upstream();
        let asking = async {
            let first = ask(&upstream, &cluster, &login, &[b"PING"]).await.expect("answers");
            (first, ask(&upstream, &cluster, &login, &[b"TIME"]).await.expect("answers"))
        };
        let (heard, (first, second)) =
            tokio::join!(answer(&listener, &["+OK\r\n", "+OK\r\n", "+PONG\r\n", ":7\r\n"]), asking);
        assert_eq!((first, second), (Value::Status("PONG".into()), Value::Integer(7)));
        assert!(heard.contains("AUTH\r\n$3\r\nada\r\n$6\r\ns3cret\r\n"), "{heard}");
        assert!(heard.find("SELECT") < heard.find("PING"), "{heard}");
    })
    .await;
}

#[tokio::test]
async fn errors_are_told_and_a_command_that_a_kept_connection_lost_is_sent_again() {
    local(async {
        let (listener, cluster) = server().await;
        let (upstream, login) = (upstream(), Arc::default());
        let asking = async {
            let error = ask(&upstream, &cluster, &login, &[b"EVALSHA"]).await.expect_err("fails");
            assert!(error.to_string().contains("NOSCRIPT"), "{error}");
            ask(&upstream, &cluster, &login, &[b"PING"]).await.expect("answers")
        };
        let serving = async {
            answer(&listener, &["-NOSCRIPT none\r\n"]).await;
            answer(&listener, &["+PONG\r\n"]).await
        };
        let (heard, pong) = tokio::join!(serving, asking);
        assert_eq!(pong, Value::Status("PONG".into()));
        assert!(heard.contains("PING"), "{heard}");
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_fails_every_command_that_waits() {
    local(async {
        let (listener, cluster) = server().await;
        let login = Arc::new(Login { password: "wrong".into(), ..Login::default() });
        let upstream = upstream();
        let one = || ask(&upstream, &cluster, &login, &[b"PING"]);
        let (_, one, two) = tokio::join!(answer(&listener, &["-WRONGPASS invalid\r\n"]), one(), one());
        for error in [one.expect_err("fails"), two.expect_err("fails")] {
            assert!(error.to_string().contains("WRONGPASS"), "{error}");
        }
        assert!(!format!("{login:?}").contains("wrong"));
    })
    .await;
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    local(async {
        let (listener, cluster) = server().await;
        let (upstream, login) = (upstream(), Arc::default());
        let asked = tokio::time::timeout(Duration::from_secs(20), ask(&upstream, &cluster, &login, &[b"PING"]));
        let (silent, asked) = tokio::join!(listener.accept(), asked);
        assert!(asked.expect("does not wait for ever").expect_err("fails").to_string().contains("not answered"));
        drop(silent);
    })
    .await;
}
