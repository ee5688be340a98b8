//! Structured logs of the process, to standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One line of text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The level is not one that the filter understands.
    #[error("log level {level:?} is not valid: {source}; use error, warn, info, debug, trace, or target=level lists")]
    Level {
        /// As given.
        level: String,
        /// What the parser found.
        source: tracing_subscriber::filter::ParseError,
    },
    /// A second set-up.
    #[error("logging was set up before")]
    Twice,
}

/// Sets the process's logger up. `level` is a level or a list of `target=level`.
pub fn init(level: &str, format: Format) -> Result<(), Error> {
    let filter = EnvFilter::try_new(level).map_err(|source| Error::Level { level: level.to_owned(), source })?;
    let registry = tracing_subscriber::registry().with(filter);
    let output = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        Format::Text => registry.with(output.with_ansi(false)).try_init(),
        Format::Json => registry.with(output.json().flatten_event(true)).try_init(),
    }
    .map_err(|_| Error::Twice)
}
