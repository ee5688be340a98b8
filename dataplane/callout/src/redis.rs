//! Commands to a Redis server, over one connection of the worker for each server: commands of all its requests follow each
//! other without waiting (pipelining), and answers come in the same order.
//!
//! A library's client would bring connections, name resolution and TLS of its own, outside of the gateway's rules on addresses.

mod connection;
mod resp;

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use agentgateway_upstream::{Cluster, Upstream};
use tokio::sync::{mpsc, oneshot};

pub use resp::Value;

use crate::Error;
use crate::limits::MAX_REDIS_QUEUE;

/// Who the gateway is for a server, and in which of its databases.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Login {
    /// Empty: the server's default user.
    pub username: String,
    /// Empty: none.
    pub password: String,
    /// 0 is that of a new connection.
    pub database: u32,
}

impl std::fmt::Debug for Login {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A command on its way, and where its answer is awaited.
struct Asked {
    command: Vec<u8>,
    answer: oneshot::Sender<Result<Value, Lost>>,
}

/// Why a command got no answer.
#[derive(Clone)]
struct Lost {
    why: Arc<str>,
    /// Whether there was a connection at all.
    was_open: bool,
}

struct Connection {
    cluster: Weak<Cluster>,
    login: Arc<Login>,
    commands: mpsc::Sender<Asked>,
}

impl Connection {
    fn is_open(&self) -> bool {
        !self.commands.is_closed() && self.cluster.strong_count() > 0
    }
}

thread_local! {
    /// Of this worker, one for each server: few, so they are looked through.
    static CONNECTIONS: RefCell<Vec<Connection>> = const { RefCell::new(Vec::new()) };
}

/// Sends one command, and gives its answer. Waits as long as the connection does: who cannot wait gives it up.
///
/// A command that a kept connection lost is sent once more over a new one, as when the server was started anew or had closed
/// it for being idle. It may then have been executed twice.
///
/// # Errors
/// No answer, or one that says what is wrong.
pub async fn ask(
    upstream: &Upstream,
    cluster: &Arc<Cluster>,
    login: &Arc<Login>,
    command: &[&[u8]],
) -> Result<Value, Error> {
    let mut may_try_again = true;
    loop {
        let (connection, is_kept) = connection(upstream, cluster, login);
        let (answer, answered) = oneshot::channel();
        let lost = match connection.try_send(Asked { command: resp::encode(command), answer }) {
            Err(mpsc::error::TrySendError::Full(_)) => {
                return Err(Error::Answer("too many commands wait for the server".into()));
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Lost { why: "the connection ended".into(), was_open: true },
            Ok(()) => match answered.await {
                Ok(Ok(Value::Error(message))) => return Err(Error::Answer(explained(message))),
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(lost)) => lost,
                Err(_) => Lost { why: "the connection ended".into(), was_open: true },
            },
        };
        if !(is_kept && lost.was_open && may_try_again) {
            return Err(Error::Answer(lost.why.to_string()));
        }
        may_try_again = false;
    }
}

/// A server of a Redis Cluster holds a part of the keys, and says so by errors that do not name what is wrong.
fn explained(message: String) -> String {
    const OF_A_CLUSTER: [&str; 5] = ["MOVED", "ASK", "CROSSSLOT", "CLUSTERDOWN", "TRYAGAIN"];
    match message.split(' ').next() {
        Some(word) if OF_A_CLUSTER.contains(&word) => {
            format!("it is a server of a Redis Cluster, which is not supported: {message}")
        }
        _ => message,
    }
}

/// The connection of this worker, and whether it was there; a new one where there is none.
fn connection(upstream: &Upstream, cluster: &Arc<Cluster>, login: &Arc<Login>) -> (mpsc::Sender<Asked>, bool) {
    CONNECTIONS.with_borrow_mut(|all| {
        // While a weak reference is held no other cluster gets the address.
        let is = |c: &&Connection| c.is_open() && c.cluster.as_ptr() == Arc::as_ptr(cluster) && c.login == *login;
        if let Some(known) = all.iter().find(is) {
            return (known.commands.clone(), true);
        }
        all.retain(Connection::is_open);
        let (commands, queue) = mpsc::channel(MAX_REDIS_QUEUE);
        tokio::task::spawn_local(connection::run(upstream.clone(), Arc::clone(cluster), Arc::clone(login), queue));
        let (cluster, login) = (Arc::downgrade(cluster), Arc::clone(login));
        all.push(Connection { cluster, login, commands: commands.clone() });
        (commands, false)
    })
}

#[cfg(test)]
mod tests;
