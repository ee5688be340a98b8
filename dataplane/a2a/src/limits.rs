//! Every bound of this crate.

use std::time::Duration;

/// Bytes of a message that rules have to see whole: files travel in messages, as base64.
pub(crate) const MESSAGE_BYTES: usize = 16 << 20;
/// Bytes of a message that are looked at, and held back meanwhile, where no rule asks: enough for the envelope of almost every
/// message.
pub(crate) const PEEK_BYTES: usize = 64 << 10;
/// Bytes that are looked at before others get the thread: well under 200 µs.
pub(crate) const SLICE_BYTES: usize = 32 << 10;
/// Bytes of a name or an id.
pub(crate) const TEXT_BYTES: usize = 1024;
/// Bytes of the name of a member that is looked for.
pub(crate) const NAME_BYTES: usize = 64;
/// How deep arrays and objects may be in each other.
pub(crate) const DEPTH: usize = 128;
/// Bytes of an agent's card.
pub(crate) const CARD_BYTES: usize = 512 << 10;
/// Time that an agent has to begin with its card, and again to end with it.
pub(crate) const CARD_PATIENCE: Duration = Duration::from_secs(10);
/// Cards that are kept, and their bytes together.
pub(crate) const CARDS: usize = 256;
/// See [`CARDS`].
pub(crate) const ALL_CARDS_BYTES: usize = 16 << 20;
/// How long a card that could not be revalidated is still served.
pub(crate) const CARD_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Bytes of a field of the access log.
pub(crate) const LOGGED_BYTES: usize = 128;
