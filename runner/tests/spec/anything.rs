//! Whatever bytes there are, the reader says something.

use super::*;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bytes changed, cut out or put in anywhere: an answer, never a panic, and every mistake can be shown.
    #[test]
    fn no_bytes_make_it_fall_over(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, prop::collection::vec(any::<u8>(), 0..6)), 1..5),
    ) {
        let mut bytes = DESIGN.as_bytes().to_vec();
        for (at, cut, put) in edits {
            let at = at.index(bytes.len());
            let end = (at + cut).min(bytes.len());
            bytes.splice(at..end, put);
        }
        let bench = Bench::new(bytes);
        if let Err(mistakes) = load(&bench.0.path().join("a.toml"), REGISTRY, &assume()) {
            prop_assert!(!mistakes.list.is_empty());
            mistakes.render(false);
            mistakes.to_json();
        }
    }

    /// As above, with the pieces TOML and the grammar are made of.
    #[test]
    fn no_pieces_make_it_fall_over(
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(PIECES)), 1..6),
    ) {
        let mut lines: Vec<&str> = DESIGN.lines().collect();
        for (at, piece) in edits {
            let at = at.index(lines.len());
            lines[at] = piece;
        }
        let bench = Bench::new(lines.join("\n"));
        if let Err(mistakes) = load(&bench.0.path().join("a.toml"), REGISTRY, &assume()) {
            prop_assert!(!mistakes.list.is_empty());
            mistakes.render(false);
        }
    }
}

const PIECES: &[&str] = &[
    "",
    "[steps]",
    "[steps.pool]",
    "[[steps]]",
    "[[claims]]",
    "claims = 3",
    "steps = 1",
    "use = 1",
    "matrix = 1",
    "matrix.data = \"@\"",
    "matrix.data = \"@student\"",
    "matrix.keep = []",
    "matrix.keep = [[1], [2]]",
    "data = \"@[\"",
    "data = \"@a[b\"",
    "data = {}",
    "when = \"\"",
    "when = \"seed\"",
    "seed = 1e400",
    "extends = \"a.toml\"",
    "extends = [1]",
    "x = 1979-05-27",
    "\"\" = 1",
    "\"a/b~c\" = 1",
    "é = \"\\u00e9\"",
    "[profiles.a]",
    "[sweep.grid]",
    "\"steps..x\" = [1]",
    "[report]",
    "[runtime]",
];
