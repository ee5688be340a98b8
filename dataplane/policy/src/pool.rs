//! Threads for what takes longer than a worker may spend: few, and with a bounded queue.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::limits::{MAX_WAITING_JOBS, POOL_THREADS};

type Job = Box<dyn FnOnce() + Send>;

/// The threads; they end with it.
#[derive(Debug)]
pub struct Pool {
    jobs: SyncSender<Job>,
}

impl Pool {
    /// `name` is that of its threads.
    pub fn start(name: &str) -> Pool {
        let (jobs, waiting) = sync_channel(MAX_WAITING_JOBS);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..POOL_THREADS {
            let waiting = Arc::clone(&waiting);
            let started = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&waiting));
            if let Err(error) = started {
                tracing::error!(%error, name, "a thread cannot be started");
            }
        }
        Pool { jobs }
    }

    /// What `job` gives; `None` when too many jobs wait already.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, result) = oneshot::channel();
        let job = move || {
            // Nobody waits any more: the client is gone.
            if !done.is_closed() {
                let _ = done.send(job());
            }
        };
        match self.jobs.try_send(Box::new(job)) {
            Ok(()) => result.await.ok(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => None,
        }
    }
}

fn work(waiting: &Mutex<Receiver<Job>>) {
    loop {
        // Whoever holds the lock waits for the next job; the others wait for the lock.
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn jobs_beyond_the_queue_are_refused_and_the_others_done() {
        let pool = Pool::start("test");
        assert_eq!(pool.run(|| 7).await, Some(7));
        let (open, gate) = sync_channel::<()>(0);
        let gate = Arc::new(Mutex::new(gate));
        let mut waiting: Vec<_> = (0..MAX_WAITING_JOBS + POOL_THREADS)
            .map(|_| {
                let gate = Arc::clone(&gate);
                // Ends when the gate is opened for all, by closing the channel.
                Box::pin(pool.run(move || drop(gate.lock().map(|gate| gate.recv()))))
            })
            .collect();
        for job in &mut waiting {
            let _ = poll_once(job.as_mut()).await;
            // The threads take theirs out of the queue.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(pool.run(|| 0).await, None);
        drop(open);
        for job in waiting {
            assert_eq!(job.await, Some(()));
        }
    }

    async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_ready())).await
    }
}
