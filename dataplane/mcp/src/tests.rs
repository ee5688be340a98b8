//! The crate as a whole: requests of clients against servers that run in the test.

mod client;
mod faults;
mod federation;
mod processes;
mod rules;
mod server;
mod sessions;
mod transport;
mod types;
