//! One connection: opens it, logs in, writes commands as they come and gives answers to whom they are for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use agentgateway_upstream::{Cluster, Opened, Upstream};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::{Asked, Login, Lost, Value, resp};
use crate::limits::{REDIS_IDLE_TIMEOUT, REDIS_PATIENCE};

/// Serves commands until the connection breaks, the server is silent, or nobody has asked anything for a while.
pub(super) async fn run(
    upstream: Upstream,
    cluster: Arc<Cluster>,
    login: Arc<Login>,
    mut commands: mpsc::Receiver<Asked>,
) {
    let opened = tokio::time::timeout(REDIS_PATIENCE, open(&upstream, &cluster, &login)).await;
    // Whoever asks after it was replaced gets a new one.
    drop(cluster);
    let mut pending = VecDeque::new();
    let (why, was_open) = match opened {
        Ok(Ok(opened)) => (serve(opened, &mut commands, &mut pending).await, true),
        Ok(Err(why)) => (why, false),
        Err(_) => (format!("no connection within {} s", REDIS_PATIENCE.as_secs()), false),
    };
    commands.close();
    let lost = Lost { why: why.into(), was_open };
    for asked in pending {
        // An error means that nobody waits any more.
        let _gone = asked.fail(&lost);
    }
    while let Ok(asked) = commands.try_recv() {
        let _gone = asked.fail(&lost);
    }
}

impl Asked {
    fn fail(self, lost: &Lost) -> Result<(), Result<Value, Lost>> {
        self.answer.send(Err(lost.clone()))
    }
}

async fn open(upstream: &Upstream, cluster: &Arc<Cluster>, login: &Login) -> Result<Opened, String> {
    let picked = upstream.pick(cluster).await.map_err(|e| e.to_string())?;
    let mut opened = upstream.open(&picked, false).await.map_err(|e| e.to_string())?;
    let database = login.database.to_string();
    let mut hello: Vec<Vec<&[u8]>> = Vec::new();
    match (login.username.as_str(), login.password.as_str()) {
        (_, "") => {}
        ("", password) => hello.push(vec![b"AUTH", password.as_bytes()]),
        (name, password) => hello.push(vec![b"AUTH", name.as_bytes(), password.as_bytes()]),
    }
    if login.database > 0 {
        hello.push(vec![b"SELECT", database.as_bytes()]);
    }
    let mut buffer = BytesMut::new();
    for command in hello {
        opened.stream.write_all(&resp::encode(&command)).await.map_err(|e| broken(&e))?;
        opened.stream.flush().await.map_err(|e| broken(&e))?;
        loop {
            match resp::decode(&mut buffer)? {
                Some(Value::Error(message)) => return Err(message),
                Some(_) => break,
                None if opened.stream.read_buf(&mut buffer).await.map_err(|e| broken(&e))? == 0 => return Err(ended()),
                None => {}
            }
        }
    }
    Ok(opened)
}

async fn serve(mut opened: Opened, commands: &mut mpsc::Receiver<Asked>, pending: &mut VecDeque<Asked>) -> String {
    let (mut reading, mut writing) = tokio::io::split(&mut opened.stream);
    let (mut buffer, mut output) = (BytesMut::with_capacity(4096), Vec::with_capacity(4096));
    let mut last = Instant::now();
    loop {
        let patience: Duration = if pending.is_empty() { REDIS_IDLE_TIMEOUT } else { REDIS_PATIENCE };
        tokio::select! {
            asked = commands.recv() => {
                let Some(asked) = asked else { return "it is not needed any more".into() };
                let mut next = Some(asked);
                if pending.is_empty() {
                    last = Instant::now();
                }
                while let Some(mut asked) = next.take() {
                    output.append(&mut asked.command);
                    pending.push_back(asked);
                    next = commands.try_recv().ok();
                }
                if let Err(error) = writing.write_all(&output).await {
                    return broken(&error);
                }
                if let Err(error) = writing.flush().await {
                    return broken(&error);
                }
                output.clear();
            }
            read = reading.read_buf(&mut buffer) => {
                match read {
                    Ok(0) => return ended(),
                    Ok(_) => {}
                    Err(error) => return broken(&error),
                }
                last = Instant::now();
                loop {
                    match resp::decode(&mut buffer) {
                        Ok(Some(value)) => match pending.pop_front() {
                            // An error means that nobody waits for it any more.
                            Some(asked) => drop(asked.answer.send(Ok(value))),
                            None => return "it answers what nobody asked".into(),
                        },
                        Ok(None) => break,
                        Err(why) => return why.into(),
                    }
                }
            }
            () = sleep_until(last + patience) => {
                return match pending.is_empty() {
                    true => "it was idle".into(),
                    false => format!("the server has not answered for {} s", REDIS_PATIENCE.as_secs()),
                };
            }
        }
    }
}

fn broken(error: &std::io::Error) -> String {
    format!("the connection broke: {error}")
}

fn ended() -> String {
    "the server closed the connection".into()
}
