//! Faults that the gateway makes itself.

use agentgateway_proto::v1::{self, policy_spec::Kind};
use agentgateway_types::Path;
use agentgateway_types::policy::FaultInjection;

use super::spec;
use crate::error::Error;

const MOST_MILLISECONDS: u64 = 3_600_000;

/// Delays or answers a share of the requests.
pub fn fault_injection(policy: &FaultInjection) -> Result<v1::PolicySpec, Error> {
    if policy.delay.is_none() && policy.abort.is_none() {
        return Err(Error::Missing { path: Path::of("delay") });
    }
    if let Some(delay) = &policy.delay
        && !(1..=MOST_MILLISECONDS).contains(&delay.fixed_delay.milliseconds())
    {
        return Err(Error::invalid(Path::of("delay.fixedDelay"), "must be more than zero and at most 1h"));
    }
    if let Some(abort) = &policy.abort
        && !(400..=599).contains(&abort.http_status)
    {
        let reason = format!("{} is no status code of an error, which are 400 to 599", abort.http_status);
        return Err(Error::invalid(Path::of("abort.httpStatus"), reason));
    }
    let percent = |field: &str, percent: Option<u32>| match percent.unwrap_or(100) {
        n @ 0..=100 => Ok(n),
        n => Err(Error::invalid(Path::of(field), format!("{n} is more than 100"))),
    };
    let delay = policy.delay.as_ref().map(|delay| -> Result<_, Error> {
        Ok(v1::fault_injection::Delay {
            milliseconds: delay.fixed_delay.milliseconds(),
            percent: percent("delay.percentage", delay.percentage)?,
        })
    });
    let abort = policy.abort.as_ref().map(|abort| -> Result<_, Error> {
        Ok(v1::fault_injection::Abort {
            status_code: abort.http_status.into(),
            percent: percent("abort.percentage", abort.percentage)?,
        })
    });
    Ok(spec(Kind::FaultInjection(v1::FaultInjection { delay: delay.transpose()?, abort: abort.transpose()? })))
}

#[cfg(test)]
mod tests {
    use agentgateway_types::Duration;
    use agentgateway_types::policy::{FaultAbort, FaultDelay};

    use super::*;

    #[test]
    fn a_fault_has_a_time_or_a_status_and_a_share() {
        let of = |delay: Option<(u64, u32)>, abort: Option<(u16, u32)>| {
            fault_injection(&FaultInjection {
                delay: delay.map(|(ms, percentage)| FaultDelay {
                    fixed_delay: Duration::from_milliseconds(ms),
                    percentage: Some(percentage),
                }),
                abort: abort.map(|(http_status, percentage)| FaultAbort { http_status, percentage: Some(percentage) }),
            })
        };
        assert!(of(Some((5, 0)), Some((503, 100))).is_ok());
        for (wrong, field) in [
            (of(None, None), "delay"),
            (of(Some((0, 1)), None), "delay.fixedDelay"),
            (of(Some((1, 101)), None), "delay.percentage"),
            (of(None, Some((200, 1))), "abort.httpStatus"),
            (of(None, Some((500, 200))), "abort.percentage"),
        ] {
            assert_eq!(wrong.expect_err(field).path().to_string(), field);
        }
    }
}
