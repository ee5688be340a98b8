//! Prefixes of a path by whole segments, without allocation.

/// Removes trailing slashes; the root is the empty prefix.
pub(crate) fn normalize_prefix(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}

/// Number of segments of a normalised prefix.
pub(crate) fn depth(prefix: &str) -> usize {
    prefix.bytes().filter(|b| *b == b'/').count()
}

/// The prefixes of `path` by whole segments, longest first, none deeper than `max_depth`; the root ("") comes last.
///
/// The bound keeps a path of thousands of slashes from costing thousands of lookups.
pub(crate) fn prefixes(path: &str, max_depth: usize) -> impl Iterator<Item = &str> {
    let mut next = Some(cut(path, max_depth));
    std::iter::from_fn(move || {
        let current = next?;
        next = current.rfind('/').map(|i| &current[..i]);
        Some(current)
    })
}

/// The first `depth` segments of `path`.
fn cut(path: &str, depth: usize) -> &str {
    match path.bytes().enumerate().filter(|(_, b)| *b == b'/').nth(depth) {
        Some((end, _)) => &path[..end],
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_first_and_bounded() {
        assert_eq!(prefixes("/a/b/c", 9).collect::<Vec<_>>(), ["/a/b/c", "/a/b", "/a", ""]);
        assert_eq!(prefixes("/a/b/c", 2).collect::<Vec<_>>(), ["/a/b", "/a", ""]);
        assert_eq!(prefixes("/a/b/", 9).collect::<Vec<_>>(), ["/a/b/", "/a/b", "/a", ""]);
        assert_eq!(prefixes("/", 0).collect::<Vec<_>>(), [""]);
        assert_eq!(prefixes("*", 3).collect::<Vec<_>>(), ["*"]);
    }
}
