//! How many pairs of typical answers ROUGE-L compares a second on one core.
//!
//! `cargo run --release --workspace --example bench_rouge`

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use lyceum_components::metrics::{Rouge, Variant};
use lyceum_components::random::Stream;
use std::time::Instant;

const PAIRS: usize = 20_000;
const WORDS: [&str; 16] = [
    "the",
    "of",
    "running",
    "national",
    "a",
    "organization",
    "is",
    "happily",
    "models",
    "to",
    "distilled",
    "and",
    "teacher",
    "in",
    "studies",
    "generalizations",
];

fn main() {
    let mut stream = Stream::new(0, "answers");
    let mut answer = || -> String {
        let words = 20 + stream.below(21);
        let mut word = || {
            let number = stream.below(4000);
            format!(
                "{}{}",
                WORDS[(number % 16) as usize],
                ["", "s", "er", "ing"][(number / 1000) as usize]
            )
        };
        (0..words).map(|_| word()).collect::<Vec<_>>().join(" ") + "."
    };
    let pairs: Vec<(String, String)> = (0..PAIRS).map(|_| (answer(), answer())).collect();
    for stemmer in [false, true] {
        let mut rouge = Rouge::new(stemmer);
        let mut best = f64::INFINITY;
        let mut sum = 0.0;
        for _ in 0..5 {
            let start = Instant::now();
            sum = pairs
                .iter()
                .map(|(reference, prediction)| rouge.score(Variant::L, reference, prediction).f)
                .sum();
            best = best.min(start.elapsed().as_secs_f64());
        }
        let rate = PAIRS as f64 / best;
        println!(
            "stemmer {stemmer}: {rate:.0} pairs/s, mean F {:.4}",
            sum / PAIRS as f64
        );
    }
}
