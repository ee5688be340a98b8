//! Where the fields of a YAML document are, for messages.

use agentgateway_types::path::{Path, Segment};
use saphyr_parser::{Event, Parser, Span};

/// Line and column of the field, or of the innermost field around it that is there; both from 1.
pub(crate) fn locate(document: &str, path: &Path) -> (usize, usize) {
    let mut events = Parser::new_from_str(document).filter_map(Result::ok);
    let mut best = (1, 1);
    while let Some((event, span)) = events.next() {
        if matches!(event, Event::StreamStart | Event::DocumentStart(..)) {
            continue;
        }
        best = start(&span);
        walk(&mut events, &event, path.segments(), &mut best);
        break;
    }
    best
}

/// Follows `path` into the node that begins with `event`, and reads the events of that node to its end.
fn walk<'i>(
    events: &mut impl Iterator<Item = (Event<'i>, Span)>,
    event: &Event<'i>,
    path: &[Segment],
    best: &mut (usize, usize),
) {
    match event {
        Event::MappingStart(..) => {
            while let Some((key, span)) = events.next().filter(|(event, _)| !matches!(event, Event::MappingEnd)) {
                let is_next = matches!((&key, path.first()),
                    (Event::Scalar(name, ..), Some(Segment::Key(wanted))) if name.as_ref() == wanted.as_str());
                // A key may be a node of its own; whatever it is, it is read to its end.
                walk(events, &key, &[], &mut (0, 0));
                let Some((value, _)) = events.next() else { return };
                if is_next {
                    *best = start(&span);
                    walk(events, &value, path.get(1..).unwrap_or_default(), best);
                } else {
                    walk(events, &value, &[], &mut (0, 0));
                }
            }
        }
        Event::SequenceStart(..) => {
            let mut index = 0;
            while let Some((item, span)) = events.next().filter(|(event, _)| !matches!(event, Event::SequenceEnd)) {
                if path.first() == Some(&Segment::Index(index)) {
                    *best = start(&span);
                    walk(events, &item, path.get(1..).unwrap_or_default(), best);
                } else {
                    walk(events, &item, &[], &mut (0, 0));
                }
                index += 1;
            }
        }
        _ => {}
    }
}

fn start(span: &Span) -> (usize, usize) {
    (span.start.line(), span.start.col() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_fields_in_block_and_flow_style() {
        let yaml =
            "# a comment\nspec:\n  rules:\n  - matches: [{path: {type: X}}]\n    ? [odd, key]\n    : v\n  - name: b\n";
        let at = |path: Path| locate(yaml, &path);
        assert_eq!(at(Path::root()), (2, 1));
        assert_eq!(at(Path::of("spec.rules")), (3, 3));
        assert_eq!(at(Path::of("spec.rules").index(0).key("matches").index(0).join(Path::of("path.type"))), (4, 23));
        assert_eq!(at(Path::of("spec.rules").index(1).key("name")), (7, 5));
        assert_eq!(at(Path::of("spec.rules").index(1).key("missing")), (7, 5), "the item around it");
    }
}
