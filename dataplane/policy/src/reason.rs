//! Reasons as access logs write them.

use std::fmt;

use crate::Reason;

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Denied(why) => write!(f, "denied: {why}"),
            Reason::Preflight => f.write_str("cors preflight"),
            Reason::Unauthenticated(why) => write!(f, "unauthenticated: {why}"),
            Reason::Unauthorized(policy) => write!(f, "unauthorized: {policy}"),
            Reason::RateLimited(policy) => write!(f, "rate limited: {policy}"),
            Reason::Redirect => f.write_str("redirect"),
            Reason::Malformed(why) => write!(f, "malformed: {why}"),
        }
    }
}
