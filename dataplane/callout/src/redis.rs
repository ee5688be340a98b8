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
    answer: oneshot::Sender<Result<Value, Arc<str>>>,
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

/// Sends one command, and gives its answer; an error that the server answers with is an [`Error`]. Waits as long as the
/// connection does: who cannot wait gives it up.
///
/// # Errors
/// No answer, or one that says what is wrong.
pub async fn ask(
    upstream: &Upstream,
    cluster: &Arc<Cluster>,
    login: &Arc<Login>,
    command: &[&[u8]],
) -> Result<Value, Error> {
    let (answer, answered) = oneshot::channel();
    let asked = Asked { command: resp::encode(command), answer };
    connection(upstream, cluster, login).try_send(asked).map_err(|e| match e {
        mpsc::error::TrySendError::Full(_) => Error::Answer("too many commands wait for the server".into()),
        mpsc::error::TrySendError::Closed(_) => Error::Answer("the connection has just ended".into()),
    })?;
    match answered.await {
        Ok(Ok(Value::Error(message))) => Err(Error::Answer(message)),
        Ok(Ok(value)) => Ok(value),
        Ok(Err(message)) => Err(Error::Answer(message.to_string())),
        Err(_) => Err(Error::Answer("the connection ended".into())),
    }
}

/// The connection of this worker; a new one where there is none.
fn connection(upstream: &Upstream, cluster: &Arc<Cluster>, login: &Arc<Login>) -> mpsc::Sender<Asked> {
    CONNECTIONS.with_borrow_mut(|all| {
        // While a weak reference is held no other cluster gets the address.
        let is = |c: &&Connection| c.is_open() && c.cluster.as_ptr() == Arc::as_ptr(cluster) && c.login == *login;
        if let Some(known) = all.iter().find(is) {
            return known.commands.clone();
        }
        all.retain(Connection::is_open);
        let (commands, queue) = mpsc::channel(MAX_REDIS_QUEUE);
        tokio::task::spawn_local(connection::run(upstream.clone(), Arc::clone(cluster), Arc::clone(login), queue));
        let (cluster, login) = (Arc::downgrade(cluster), Arc::clone(login));
        all.push(Connection { cluster, login, commands: commands.clone() });
        commands
    })
}

#[cfg(test)]
mod tests;
