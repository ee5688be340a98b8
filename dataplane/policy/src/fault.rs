//! Fault injection: delays or answers a share of the requests, to see how clients bear it.

use std::time::Duration;

use agentgateway_proto::v1;
use agentgateway_upstream::random_below;
use http::StatusCode;

use crate::limits::MAX_FAULT_DELAY;
use crate::{Reason, Reply};

/// A compiled policy.
#[derive(Debug)]
pub(crate) struct FaultInjection {
    delay: Option<(Duration, usize)>,
    abort: Option<(StatusCode, usize)>,
}

impl FaultInjection {
    pub(crate) fn compile(spec: &v1::FaultInjection) -> Result<FaultInjection, String> {
        let percent = |percent: u32| match usize::try_from(percent) {
            Ok(n @ 0..=100) => Ok(n),
            _ => Err(format!("{percent} percent of the requests: 100 are all")),
        };
        let delay = spec.delay.as_ref().map(|delay| -> Result<(Duration, usize), String> {
            let lasts = Duration::from_millis(delay.milliseconds);
            if lasts.is_zero() || lasts > MAX_FAULT_DELAY {
                return Err(format!("a delay of {lasts:?}: it must be more than zero and at most {MAX_FAULT_DELAY:?}"));
            }
            Ok((lasts, percent(delay.percent)?))
        });
        let abort = spec.abort.as_ref().map(|abort| -> Result<(StatusCode, usize), String> {
            let code = u16::try_from(abort.status_code).ok().filter(|code| (400..600).contains(code));
            let status = code.and_then(|code| StatusCode::from_u16(code).ok());
            let status = status.ok_or_else(|| format!("{} is no status code of an error", abort.status_code))?;
            Ok((status, percent(abort.percent)?))
        });
        Ok(FaultInjection { delay: delay.transpose()?, abort: abort.transpose()? })
    }

    #[allow(clippy::result_large_err, reason = "moved once, to the caller")]
    pub(crate) async fn on_request(&self) -> Result<(), Reply> {
        if let Some((lasts, percent)) = self.delay
            && random_below(100) < percent
        {
            tokio::time::sleep(lasts).await;
        }
        match self.abort {
            Some((status, percent)) if random_below(100) < percent => {
                Err(Reply::new(status, "fault injected", Reason::FaultInjected))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn fault(delay: Option<(u64, u32)>, abort: Option<(u32, u32)>) -> Result<FaultInjection, String> {
        use v1::fault_injection::{Abort, Delay};
        FaultInjection::compile(&v1::FaultInjection {
            delay: delay.map(|(milliseconds, percent)| Delay { milliseconds, percent }),
            abort: abort.map(|(status_code, percent)| Abort { status_code, percent }),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_of_the_requests_is_delayed_and_answered() {
        let all = fault(Some((2000, 100)), Some((503, 100))).expect("compiles");
        let start = Instant::now();
        let reply = all.on_request().await.expect_err("is answered");
        assert_eq!((reply.response.status().as_u16(), start.elapsed()), (503, Duration::from_secs(2)));
        let some = fault(None, Some((500, 30))).expect("compiles");
        let mut answered = 0;
        for _ in 0..1000 {
            answered += usize::from(some.on_request().await.is_err());
        }
        assert!((230..370).contains(&answered), "{answered}");
        assert!(fault(Some((1, 0)), Some((400, 0))).expect("compiles").on_request().await.is_ok());
    }

    #[test]
    fn what_is_no_fault_is_refused() {
        assert!(fault(Some((0, 5)), None).is_err() && fault(Some((3_600_001, 5)), None).is_err());
        assert!(fault(None, Some((200, 5))).is_err() && fault(None, Some((500, 101))).is_err());
    }
}
