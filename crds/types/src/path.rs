//! The path of a field in a user's configuration, such as `binds[0].listeners[1].name`.

use std::fmt;

/// One step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// A member of an object.
    Key(String),
    /// A place in a list, from 0.
    Index(usize),
}

/// Where a field is, from the root of the document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(Vec<Segment>);

impl Path {
    /// The root of the document.
    pub const fn root() -> Path {
        Path(Vec::new())
    }

    /// The steps from the root.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// This path with one more member.
    #[must_use]
    pub fn key(mut self, name: impl Into<String>) -> Path {
        self.0.push(Segment::Key(name.into()));
        self
    }

    /// This path with one more place in a list.
    #[must_use]
    pub fn index(mut self, index: usize) -> Path {
        self.0.push(Segment::Index(index));
        self
    }

    /// `inner`, as seen from the root of this path.
    #[must_use]
    pub fn join(mut self, inner: Path) -> Path {
        self.0.extend(inner.0);
        self
    }

    /// A path of members only, written with dots: `policy.matchExpressions`.
    pub fn of(dotted: &str) -> Path {
        Path(dotted.split('.').filter(|s| !s.is_empty()).map(|s| Segment::Key(s.to_owned())).collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(name) if i == 0 => write!(f, "{name}")?,
                Segment::Key(name) => write!(f, ".{name}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_users_write_paths() {
        let path = Path::of("binds").index(0).join(Path::of("listeners").index(1).key("name"));
        assert_eq!(path.to_string(), "binds[0].listeners[1].name");
        assert_eq!(Path::root().to_string(), "");
    }
}
