//! Named fractions of a sequence, drawn at random in one pass.

use crate::component::Problem;
use crate::random::Stream;
use crate::{Error, Result, Size};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Named shares, as in `{ train = 0.8, valid = 0.2 }`; what is missing to 1 is left out. Their order does not matter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fractions(pub BTreeMap<String, f64>);

impl Fractions {
    /// Sizes of outputs that share a whole as the fractions say, `part` being the size of a share; of all of it without.
    pub(crate) fn sizes(split: Option<&Self>, part: impl Fn(f64) -> Size) -> BTreeMap<String, Size> {
        match split {
            None => [(String::new(), part(1.0))].into(),
            Some(Self(shares)) => {
                let sized = shares.iter().map(|(name, share)| (name.clone(), part(*share)));
                sized.collect()
            }
        }
    }
}

impl JsonSchema for Fractions {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "fractions".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_-]*$" },
            "additionalProperties": { "type": "number", "exclusiveMinimum": 0.0, "maximum": 1.0 },
            "minProperties": 1,
        })
    }
}

impl Fractions {
    /// The names, in the order of the parts.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The mistake of asking for more than there is.
    pub fn check(&self, field: &str) -> Vec<Problem> {
        let sum: f64 = self.0.values().sum();
        if sum <= 1.0 + 1e-9 {
            return Vec::new();
        }
        vec![Problem {
            field: field.to_owned(),
            code: "fractions_exceed_one",
            message: format!("the fractions add up to {sum}; expected at most 1"),
            hint: None,
        }]
    }

    /// How many of `total` items each part gets: the shares' running sums are rounded, so that parts that add up to 1
    /// leave nothing out. `empty_split`: a part would get none.
    pub fn counts(&self, total: u64) -> Result<Vec<u64>> {
        let mut running = 0.0;
        let mut before = 0;
        let mut count = |(name, share): (&String, &f64)| {
            running += share;
            let cut = ((running * total as f64).round() as u64).min(total);
            let count = cut - before;
            before = cut;
            if count == 0 {
                return Err(
                    Error::data("empty_split", format!("`{name}` gets none of {total} documents"))
                        .hint("raise its fraction or read more documents"),
                );
            }
            Ok(count)
        };
        self.0.iter().map(&mut count).collect()
    }
}

/// Deals a sequence into parts of known sizes, uniformly over all ways to do so, in one pass and without holding it
/// (Knuth, TAOCP 3.4.2, algorithm S, with several parts).
#[derive(Debug)]
pub struct Sampler {
    stream: Stream,
    counts: Vec<u64>,
    left: u64,
}

impl Sampler {
    /// Deals `total` items into parts of `counts`; what is beyond their sum goes nowhere.
    pub fn new(stream: Stream, counts: Vec<u64>, total: u64) -> Self {
        debug_assert!(counts.iter().sum::<u64>() <= total);
        Self {
            stream,
            counts,
            left: total,
        }
    }

    /// The part of the next item; none if it is left out. Asked at most `total` times.
    pub fn next_part(&mut self) -> Option<usize> {
        let mut ticket = self.stream.below(self.left.max(1));
        self.left = self.left.saturating_sub(1);
        for (part, count) in self.counts.iter_mut().enumerate() {
            if ticket < *count {
                *count -= 1;
                return Some(part);
            }
            ticket -= *count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fractions(parts: &[(&str, f64)]) -> Fractions {
        Fractions(
            parts
                .iter()
                .map(|&(name, share)| (name.to_owned(), share))
                .collect(),
        )
    }

    #[test]
    fn parts_that_add_up_to_one_leave_nothing_out() {
        let thirds = fractions(&[("a", 1.0 / 3.0), ("b", 1.0 / 3.0), ("c", 1.0 / 3.0)]);
        for total in [3, 4, 5, 100] {
            assert_eq!(thirds.counts(total).expect("counts").iter().sum::<u64>(), total);
        }
        assert_eq!(fractions(&[("slice", 0.3)]).counts(10).expect("counts"), [3]);
    }

    #[test]
    fn an_empty_part_and_too_much_are_mistakes() {
        let tiny = fractions(&[("train", 0.9), ("valid", 0.1)]);
        assert_eq!(tiny.counts(3).expect_err("none left").code(), "empty_split");
        let much = fractions(&[("a", 0.9), ("b", 0.2)]);
        assert_eq!(much.check("split")[0].code, "fractions_exceed_one");
        assert!(tiny.check("split").is_empty());
    }

    #[test]
    fn every_item_is_dealt_once_into_parts_of_the_asked_sizes_without_bias() {
        let mut ones = [0; 10];
        for seed in 0..2000 {
            let mut sampler = Sampler::new(Stream::new(seed, "split"), vec![3, 5], 10);
            let dealt: Vec<_> = (0..10).map(|_| sampler.next_part()).collect();
            assert_eq!(dealt.iter().filter(|&&part| part == Some(0)).count(), 3);
            assert_eq!(dealt.iter().filter(|&&part| part == Some(1)).count(), 5);
            for (item, part) in dealt.iter().enumerate() {
                ones[item] += i32::from(*part == Some(0));
            }
        }
        assert!(ones.iter().all(|&n| (n - 600).abs() < 100), "{ones:?}");
    }
}
