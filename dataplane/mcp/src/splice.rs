//! Replaces parts of a text that were found as slices of it, and leaves every other byte as it was.

/// Edits of one text, in the order of their places.
pub(crate) struct Splice<'a> {
    text: &'a str,
    edits: Vec<(usize, usize, String)>,
}

impl<'a> Splice<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, edits: Vec::new() }
    }

    /// Puts `with` in the place of `part`, which must be a slice of the text; a slice of another text is ignored.
    pub(crate) fn replace(&mut self, part: &str, with: String) {
        let start = (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        let end = start.wrapping_add(part.len());
        debug_assert!(end <= self.text.len() && start <= end, "the part is not of this text");
        if start <= end && end <= self.text.len() {
            self.edits.push((start, end, with));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    pub(crate) fn finish(mut self) -> String {
        self.edits.sort_by_key(|edit| edit.0);
        let grown: usize = self.edits.iter().map(|(_, _, with)| with.len()).sum();
        let mut out = String::with_capacity(self.text.len() + grown);
        let mut at = 0;
        for (start, end, with) in &self.edits {
            if *start < at {
                continue;
            }
            out.push_str(&self.text[at..*start]);
            out.push_str(with);
            at = *end;
        }
        out.push_str(&self.text[at..]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_in_any_order() {
        let text = String::from("one two three");
        let mut splice = Splice::new(&text);
        splice.replace(&text[8..13], "3".into());
        splice.replace(&text[0..3], "first".into());
        assert!(!splice.is_empty());
        assert_eq!(splice.finish(), "first two 3");
    }

    #[test]
    fn nothing_to_do() {
        assert_eq!(Splice::new("as is").finish(), "as is");
    }
}
