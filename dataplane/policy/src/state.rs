//! What outlives a configuration: the levels of rate limits, kept by policy so that a reload does not fill them.

/// State of the whole process.
#[derive(Debug, Default)]
pub struct State {}

impl State {
    /// Empty state.
    pub fn new() -> Self {
        State::default()
    }
}
