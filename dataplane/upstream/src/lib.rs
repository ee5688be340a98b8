//! Connections to backends: endpoints, load balancing, DNS and one connection pool per worker thread.
//!
//! A [`Cluster`] (a compiled backend) and its [`Endpoint`]s are shared by all threads and hold atomics only; an
//! [`Upstream`] belongs to one thread, so that a request and the connection it uses never change threads.

mod address;
pub mod balancer;
mod body;
mod cluster;
mod connect;
mod dial;
mod discard;
mod dns;
mod endpoint;
mod error;
pub mod limits;
mod pool;
mod random;
mod reader;
mod stream;
mod upstream;

pub use address::AddressRules;
pub use body::{Body, BoxError};
pub use cluster::{Cluster, Host, Refused};
pub use discard::discard;
pub use dns::Resolver;
pub use endpoint::{Connecting, Endpoint, EndpointRegistry, Protocol};
pub use error::{Blame, Error, Kind};
pub use random::random_below;
pub use reader::Reader;
pub use stream::{Datagrams, Opened, Stream};
pub use upstream::{Picked, SendError, Upstream};
