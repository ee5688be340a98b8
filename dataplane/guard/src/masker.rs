//! A text that comes in pieces.

use std::ops::Range;
use std::sync::Arc;

use crate::guard::{Compiled, Guard};
use crate::limits::MAX_HELD;

/// Bytes that are kept while the end of something long is looked for: longer than what ends it.
const TAIL: usize = 128;

/// What a piece gives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    /// What may go on now.
    pub text: String,
    /// Masks in it.
    pub masked: usize,
    /// The name of the rule that refuses the text. Nothing goes on any more.
    pub rejected: Option<Arc<str>>,
}

/// Masks one text piece by piece.
#[derive(Debug)]
pub struct Masker {
    guard: Guard,
    /// The last character that went on, for what looks behind itself, and what is held back.
    buffer: String,
    /// Where in the buffer begins what is held back.
    held: usize,
    /// The rule whose match goes on until its end comes.
    within: Option<usize>,
    rejected: Option<Arc<str>>,
}

impl Masker {
    pub(crate) fn new(guard: Guard) -> Masker {
        Masker { guard, buffer: String::new(), held: 0, within: None, rejected: None }
    }

    /// Takes a piece.
    pub fn push(&mut self, piece: &str) -> Step {
        self.buffer.push_str(piece);
        self.step(false)
    }

    /// The text is complete: what was held back.
    pub fn end(&mut self) -> Step {
        self.step(true)
    }

    pub(crate) fn whole(&mut self, text: &str) -> Step {
        self.buffer.push_str(text);
        self.step(true)
    }

    /// How many bytes are held back.
    pub fn held(&self) -> usize {
        self.buffer.len().saturating_sub(self.held)
    }

    fn step(&mut self, last: bool) -> Step {
        let mut step = Step { rejected: self.rejected.clone(), ..Step::default() };
        if step.rejected.is_some() {
            self.buffer.clear();
            self.held = 0;
            return step;
        }
        let buffer = std::mem::take(&mut self.buffer);
        let done = self.run(&buffer, last, &mut step);
        // One character stays for expressions that look behind themselves.
        let context = buffer.get(..done).and_then(|gone| gone.char_indices().next_back()).map_or(0, |(at, _)| at);
        buffer.get(context..).unwrap_or_default().clone_into(&mut self.buffer);
        self.held = done.saturating_sub(context);
        self.rejected = step.rejected.clone();
        step
    }

    /// Works through what is held back; gives how far it came.
    fn run(&mut self, text: &str, last: bool, step: &mut Step) -> usize {
        let mut at = self.held;
        let mut next = Matches::new(self.guard.rules().len());
        loop {
            if let Some(rule) = self.within {
                let until = self.guard.rules().get(rule).and_then(|rule| rule.until.as_ref());
                let found = until.and_then(|until| until.find_at(text, at));
                let Some(found) = found else {
                    // All of it goes, but for what may be the start of the end.
                    return if last { text.len() } else { boundary(text, at.max(text.len().saturating_sub(TAIL))) };
                };
                self.within = None;
                at = found.end();
            }
            let (open, any) = if last { (text.len(), true) } else { self.guard.open_from(text, at) };
            let found = if any { next.first(self.guard.rules(), text, at) } else { None };
            let found = found.filter(|(_, range)| range.start < open);
            let (rule, range) = match found {
                Some(found) => found,
                None if text.len().saturating_sub(open) <= MAX_HELD => {
                    step.text.push_str(text.get(at..open).unwrap_or_default());
                    return open;
                }
                // Too much is held back: what matches now counts, and of the rest only the end may still become something.
                None => match next.first(self.guard.rules(), text, at) {
                    Some(found) => found,
                    None => {
                        let kept = boundary(text, text.len().saturating_sub(MAX_HELD / 2));
                        step.text.push_str(text.get(at..kept).unwrap_or_default());
                        return kept;
                    }
                },
            };
            let Some(compiled) = self.guard.rules().get(rule) else { return text.len() };
            step.text.push_str(text.get(at..range.start).unwrap_or_default());
            let Some(mask) = &compiled.mask else {
                step.rejected = Some(Arc::clone(&compiled.name));
                return text.len();
            };
            step.text.push_str(mask);
            step.masked = step.masked.saturating_add(1);
            at = range.end;
            if compiled.until.is_some() {
                self.within = Some(rule);
            }
        }
    }
}

/// The first boundary of characters from a place on.
fn boundary(text: &str, at: usize) -> usize {
    (at..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

/// The next match of each rule, so that each looks at each place once.
struct Matches(Vec<Next>);

#[derive(Clone)]
enum Next {
    Unknown,
    At(Range<usize>),
    None,
}

impl Matches {
    fn new(rules: usize) -> Matches {
        Matches(vec![Next::Unknown; rules])
    }

    /// The first match from a place on: its rule, and where it is.
    fn first(&mut self, rules: &[Compiled], text: &str, from: usize) -> Option<(usize, Range<usize>)> {
        let mut best: Option<(usize, Range<usize>)> = None;
        for (number, (rule, next)) in rules.iter().zip(&mut self.0).enumerate() {
            let stale = match next {
                Next::Unknown => true,
                Next::At(range) => range.start < from,
                Next::None => false,
            };
            if stale {
                *next = find(rule, text, from).map_or(Next::None, Next::At);
            }
            let Next::At(range) = next else { continue };
            let better = best
                .as_ref()
                .is_none_or(|(_, best)| range.start < best.start || range.start == best.start && range.end > best.end);
            if better {
                best = Some((number, range.clone()));
            }
        }
        best
    }
}

/// The next match of a rule that passes its check.
fn find(rule: &Compiled, text: &str, from: usize) -> Option<Range<usize>> {
    let mut from = from;
    loop {
        let found = rule.regex.find_at(text, from)?;
        if let Some(range) = valid(rule, text, found.range()) {
            return Some(range);
        }
        // Another one may begin within it.
        from = boundary(text, found.start().saturating_add(1));
    }
}

fn valid(rule: &Compiled, text: &str, range: Range<usize>) -> Option<Range<usize>> {
    if !rule.number {
        return (rule.is)(text.get(range.clone())?).then_some(range);
    }
    let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let starts = text.get(range.clone())?.chars().next();
    if word(starts) && word(text.get(..range.start)?.chars().next_back()) {
        return None;
    }
    // From the longest to shorter ones that end where a group ends.
    let inner = text.get(range.clone())?;
    let ends = inner.char_indices().map(|(at, _)| at).skip(1).chain([inner.len()]);
    let mut ends: Vec<usize> = ends.map(|end| range.start.saturating_add(end)).collect();
    ends.reverse();
    ends.into_iter().map(|end| range.start..end).find(|part| {
        let after = text.get(part.end..).and_then(|rest| rest.chars().next());
        let inside = text.get(part.clone()).unwrap_or_default();
        let whole = part.end == range.end;
        !word(after)
            && (whole || word(inside.chars().next_back()))
            && (whole || rule.regex.find(inside).is_some_and(|found| found.range() == (0..inside.len())))
            && (rule.is)(inside)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Action, Builtin, Outcome, Pattern, Rule};

    fn all() -> Guard {
        let rules: Vec<Rule> = Builtin::ALL
            .iter()
            .map(|builtin| Rule {
                name: format!("{builtin:?}"),
                pattern: Pattern::Builtin(*builtin),
                action: Action::Mask(builtin.mask().to_owned()),
            })
            .collect();
        Guard::compile(&rules).unwrap()
    }

    fn expression(expression: &str, action: Action) -> Guard {
        let rule = Rule { name: "own".to_owned(), pattern: Pattern::Expression(expression.to_owned()), action };
        Guard::compile(&[rule]).unwrap()
    }

    fn masked(guard: &Guard, text: &str) -> String {
        match guard.check(text) {
            Outcome::Clean => text.to_owned(),
            Outcome::Masked(text, _) => text,
            Outcome::Rejected(rule) => panic!("rejected by {rule}"),
        }
    }

    fn in_pieces(guard: &Guard, text: &str, size: usize) -> String {
        let mut masker = guard.masker();
        let characters: Vec<char> = text.chars().collect();
        let mut out = String::new();
        for piece in characters.chunks(size) {
            out.push_str(&masker.push(&piece.iter().collect::<String>()).text);
            assert!(masker.held() <= MAX_HELD, "{}", masker.held());
        }
        out.push_str(&masker.end().text);
        out
    }

    const KEY: &str =
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n4111111111111111\n-----END RSA PRIVATE KEY-----";

    #[test]
    fn what_is_found_and_what_is_not() {
        let guard = all();
        for (text, expected) in [
            ("card 4111 1111 1111 1111.", "card <CREDIT_CARD>."),
            ("card 4111-1111-1111-1111-22", "card <CREDIT_CARD>-22"),
            ("not 4111 1111 1111 1112", "not 4111 1111 1111 1112"),
            ("x4111111111111111", "x4111111111111111"),
            ("mail jane.doe+x@mail.example.co.uk, or", "mail <EMAIL_ADDRESS>, or"),
            ("a@b is none", "a@b is none"),
            ("call +49 (30) 1234-5678 now", "call <PHONE_NUMBER> now"),
            ("call (415) 555-2671", "call <PHONE_NUMBER>"),
            ("iban DE89 3704 0044 0532 0130 00 ok", "iban <IBAN> ok"),
            ("iban DE88 3704 0044 0532 0130 00 ok", "iban DE88 3704 0044 0532 0130 00 ok"),
            ("ssn 536-90-4399", "ssn <NATIONAL_ID>"),
            ("ssn 666-90-4399", "ssn 666-90-4399"),
            ("nino AB 12 34 56 C", "nino <NATIONAL_ID>"),
            ("dni 12345678Z", "dni <NATIONAL_ID>"),
            ("key sk-proj-abcdefghijklmnopqrstuv", "key <API_KEY>"),
            ("AKIAIOSFODNN7EXAMPLE", "<API_KEY>"),
            ("at 12:30 on 2026-11-27, 3.14159", "at 12:30 on 2026-11-27, 3.14159"),
        ] {
            assert_eq!(masked(&guard, text), expected);
            for size in [1, 2, 3, 5, 100] {
                assert_eq!(in_pieces(&guard, text, size), expected, "in pieces of {size}");
            }
        }
        let text = format!("before {KEY} after é");
        assert_eq!(masked(&guard, &text), "before <PRIVATE_KEY> after é");
        let cut = text.replace("-----END RSA PRIVATE KEY-----", "");
        assert_eq!(masked(&guard, &cut), "before <PRIVATE_KEY>", "a key without its end goes to the end");
        for size in [1, 7, 64] {
            assert_eq!(in_pieces(&guard, &text, size), "before <PRIVATE_KEY> after é");
        }
    }

    #[test]
    fn only_what_may_become_a_match_is_held_back() {
        let guard = all();
        let mut masker = guard.masker();
        assert_eq!(masker.push("Dear Jane, my number is ").text, "Dear Jane, my number is ");
        assert_eq!(masker.push("4111").text, "");
        assert_eq!(masker.push(" 1111 11").text, "");
        assert_eq!(masker.push("11 1111").text, "");
        let step = masker.push(", thanks ");
        assert_eq!((step.text.as_str(), step.masked), ("<CREDIT_CARD>, thanks ", 1));
        assert_eq!(masker.held(), 0);
    }

    #[test]
    fn a_rule_that_refuses() {
        let guard = expression("(?i)secret project", Action::Reject);
        assert_eq!(guard.check("the Secret Project"), Outcome::Rejected("own".into()));
        assert_eq!(guard.check("secret"), Outcome::Clean);
        let mut masker = guard.masker();
        assert_eq!(masker.push("the sec").text, "the ");
        assert_eq!(masker.push("ret pro").rejected, None);
        let step = masker.push("ject x");
        assert_eq!((step.text.as_str(), step.rejected.as_deref()), ("", Some("own")));
        assert_eq!(masker.push("more").text, "");
    }

    #[test]
    fn an_expression_without_end_holds_back_so_much_and_no_more() {
        let guard = expression("a.*b", Action::Mask("#".to_owned()));
        let mut masker = guard.masker();
        let mut out = String::new();
        for _ in 0..64 {
            out.push_str(&masker.push(&"a".repeat(1024)).text);
            assert!(masker.held() <= MAX_HELD);
        }
        out.push_str(&masker.end().text);
        assert_eq!(out, "a".repeat(64 * 1024));
        let words = expression(r"\bnope\b", Action::Mask("#".to_owned()));
        assert_eq!(in_pieces(&words, "ä nope, nopes é nope", 1), "ä #, nopes é #");
    }

    #[test]
    fn rules_that_cannot_be() {
        let rule = |text: &str| Rule {
            name: "own".to_owned(),
            pattern: Pattern::Expression(text.to_owned()),
            action: Action::Reject,
        };
        assert!(matches!(Guard::compile(&[rule("(")]), Err(crate::Error::Expression { .. })));
        assert!(matches!(Guard::compile(&[rule("x*")]), Err(crate::Error::Empty(_))));
        assert!(Guard::compile(&[rule("(?:x{1000}){1000}")]).is_err());
        assert!(matches!(Guard::compile(&vec![rule("x"); 257]), Err(crate::Error::TooMany)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn pieces_give_what_the_whole_gives(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("4111 1111 1111 1111".to_owned()),
                    Just("jane@example.com".to_owned()),
                    Just("+49 30 1234567".to_owned()),
                    Just("DE89370400440532013000".to_owned()),
                    Just("536-90-4399".to_owned()),
                    Just(KEY.to_owned()),
                    "[ -~]{0,12}",
                    "[0-9 -]{0,24}",
                    "\\PC{0,6}",
                ],
                0..8,
            ),
            size in 1usize..20,
        ) {
            let guard = all();
            let text = parts.concat();
            prop_assert_eq!(in_pieces(&guard, &text, size), masked(&guard, &text));
        }
    }
}
