//! Finds the route of a request: host name, path, then method, headers and query, in the order of Gateway API's HTTPRoute.
//!
//! Order of what is tried: exact host name, then wildcards from the longest suffix, then routes without a host name;
//! within a host name exact path, regular expressions (longest pattern first), then prefixes from the longest. When the
//! other conditions of the best path fail, the next best is tried. Ties go to the older route; see [`Precedence`].
//!
//! All tables are persistent maps: a clone shares everything, and a change copies only the way to what changed.

mod host;
mod matcher;
mod path;
mod paths;
mod router;
mod table;

pub use host::HostMap;
pub use matcher::{CompileError, Condition, PathMatch, RouteMatch, ValueMatch};
pub use router::{Precedence, Router};

#[cfg(test)]
mod tests;
