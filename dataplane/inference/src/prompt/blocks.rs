//! A prompt as blocks, each named by a hash over itself and all before it: two prompts have as many leading hashes in common as
//! leading blocks.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Prompt;

/// Bytes of text for which one token is reckoned; English text has a little more than four.
pub const BYTES_PER_TOKEN: usize = 4;

/// Hashes of the leading blocks of a prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks(Vec<u64>);

impl Blocks {
    /// Cuts the prompt into blocks of `block_tokens`, `most` of them at most. Only full blocks count, except where one part of the
    /// prompt ends and the next begins. `seed` differs from process to process, so that nobody can make prompts that collide.
    pub fn of(prompt: &Prompt, body: &[u8], block_tokens: usize, most: usize, seed: u64) -> Blocks {
        let size = block_tokens.max(1) * BYTES_PER_TOKEN;
        let model = prompt.model(body).unwrap_or_default();
        // One prompt under two models, or two salts, is nothing that a cache shares.
        let mut before = xxh3_64_with_seed(prompt.salt(body), xxh3_64_with_seed(model.as_bytes(), seed));
        let mut hashes = Vec::with_capacity((prompt.len() / size + 1).min(most));
        let mut parts = prompt.parts(body).peekable();
        while let Some(part) = parts.next() {
            let is_last = parts.peek().is_none();
            for block in part.chunks(size) {
                if hashes.len() == most || (is_last && block.len() < size) {
                    break;
                }
                before = xxh3_64_with_seed(block, before);
                hashes.push(before);
            }
        }
        Blocks(hashes)
    }

    /// The hashes.
    pub fn hashes(&self) -> &[u64] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(body: &str) -> Vec<u64> {
        Blocks::of(&Prompt::find(body.as_bytes()), body.as_bytes(), 4, 100, 1).0
    }

    fn common(a: &str, b: &str) -> usize {
        blocks(a).iter().zip(blocks(b)).take_while(|(a, b)| **a == *b).count()
    }

    #[test]
    fn prompts_have_their_beginning_in_common() {
        let chat = |rest: &str| format!(r#"{{"model":"m","messages":[{{"content":"{}"}}{rest}]}}"#, "x".repeat(64));
        let (first, second) = (chat(""), chat(r#",{"content":"and then a second question"}"#));
        // 16 bytes a block: 13 before the text, 64 of it, 2 behind it, and then one is `]` and the other `,`.
        assert_eq!(common(&first, &second), (13 + 64 + 2) / 16);
        assert_eq!(common(&first, &first.replace("\"m\"", "\"n\"")), 0, "another model");
        let salted = first.replace("{\"model\"", "{\"cache_salt\":\"s\",\"model\"");
        assert_eq!(common(&first, &salted), 0, "another salt");
    }

    #[test]
    fn one_changed_byte_changes_all_blocks_behind_it() {
        let one = format!(r#"{{"prompt":"{}"}}"#, "a".repeat(160));
        let mut other = one.clone().into_bytes();
        other[10 + 40] = b'b';
        assert_eq!(common(&one, std::str::from_utf8(&other).expect("text")), 2);
    }

    #[test]
    fn there_are_no_more_blocks_than_allowed() {
        let body = format!(r#"{{"prompt":"{}"}}"#, "a".repeat(1000));
        let prompt = Prompt::find(body.as_bytes());
        assert_eq!(Blocks::of(&prompt, body.as_bytes(), 4, 7, 0).hashes().len(), 7);
        assert!(Blocks::of(&Prompt::find(b"{}"), b"{}", 4, 7, 0).hashes().is_empty());
    }
}
