//! LoRA adapters of one server: which are in the batch, which are loaded, which are waited for.

/// Adapters of one server.
#[derive(Debug, Default)]
pub(crate) struct Adapters {
    /// Loaded, with the requests in the batch that use them; the one used last at the end.
    loaded: Vec<(String, usize)>,
    /// When something changed last, seconds since the epoch.
    pub(crate) changed: f64,
}

/// Whether an adapter can be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Loaded,
    MustLoad,
    Full,
}

impl Adapters {
    pub(crate) fn room(&self, name: &str, most: usize) -> Room {
        if self.loaded.iter().any(|(n, _)| n == name) {
            Room::Loaded
        } else if self.loaded.iter().filter(|(_, users)| *users > 0).count() < most {
            Room::MustLoad
        } else {
            Room::Full
        }
    }

    pub(crate) fn enter(&mut self, name: &str, most: usize) {
        let users = match self.loaded.iter().position(|(n, _)| n == name) {
            Some(at) => self.loaded.remove(at).1,
            None => {
                if self.loaded.len() >= most
                    && let Some(idle) = self.loaded.iter().position(|(_, users)| *users == 0)
                {
                    self.loaded.remove(idle);
                }
                0
            }
        };
        self.loaded.push((name.to_owned(), users + 1));
        self.changed = now();
    }

    pub(crate) fn leave(&mut self, name: &str) {
        if let Some((_, users)) = self.loaded.iter_mut().find(|(n, _)| n == name) {
            *users -= 1;
        }
        self.changed = now();
    }

    /// Adapters with requests in the batch.
    pub(crate) fn running(&self) -> impl Iterator<Item = &str> {
        self.loaded.iter().filter(|(_, users)| *users > 0).map(|(name, _)| name.as_str())
    }
}

fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
