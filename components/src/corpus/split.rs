//! `corpus.split`: named random parts of a corpus.

use super::{Documents, Fractions, Sampler};
use crate::artifact::CorpusWriter;
use crate::component::{Output, Problem};
use crate::reference;
use crate::{Component, Context, Estimate, Kind, Ref, Result, Seeding, Size, Sizes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Splits a corpus.
#[derive(Debug)]
pub enum Split {}

/// Parameters of `corpus.split`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitParams {
    /// The documents.
    pub corpus: Ref<reference::Documents>,
    /// The parts by name, which share no document: `{ train = 0.8, valid = 0.2 }`. What is missing to 1 is left out, so
    /// `{ slice = 0.3 }` takes a random slice, and `{ slice = 0.3, rest = 0.7 }` also what the slice leaves.
    pub fractions: Fractions,
}

impl Component for Split {
    type Params = SplitParams;
    const NAME: &'static str = "corpus.split";
    const SUMMARY: &'static str = "Deals documents at random into named parts";
    const SEEDING: Seeding = Seeding::Fixed;
    const EXAMPLE: &'static str = r#"use = "corpus.split"
corpus = "@pool"
fractions = { reference = 0.3, scored = 0.7 }
"#;

    fn outputs(params: &SplitParams) -> Vec<Output> {
        let output = |name: &str| Output {
            name: name.to_owned(),
            kind: Kind::Corpus,
        };
        params.fractions.names().map(output).collect()
    }

    fn check(params: &SplitParams) -> Vec<Problem> {
        params.fractions.check("fractions")
    }

    fn estimate(params: &SplitParams, sizes: &Sizes) -> Estimate {
        let whole = sizes.of(params.corpus.as_str());
        let part = |(name, share): (&String, &f64)| {
            let size = Size {
                items: share * whole.items,
                tokens: share * whole.tokens,
                bytes: share * whole.bytes,
                ..Size::default()
            };
            (name.clone(), size)
        };
        Estimate {
            outputs: params.fractions.0.iter().map(part).collect(),
            ..Estimate::default()
        }
    }

    fn run(params: SplitParams, context: &Context) -> Result<()> {
        let documents = Documents::open(&context.open(&params.corpus)?, context)?;
        documents.refuse_weights()?;
        let columns = documents.details().columns.clone();
        let counts = params.fractions.counts(documents.len())?;
        let mut sampler = Sampler::new(context.stream("split"), counts, documents.len());
        let mut writers = params
            .fractions
            .names()
            .map(|name| CorpusWriter::create(&context.output(name)?, &columns))
            .collect::<Result<Vec<_>>>()?;
        let bar = context.services.bar("splitting", documents.len(), "documents");
        for document in documents.read(&columns)? {
            let (index, document) = document?;
            if let Some(part) = sampler.next_part() {
                writers[part].push(document)?;
            }
            bar.advance(1);
            if index % 1024 == 0 {
                context.check_cancelled()?;
            }
        }
        for writer in writers {
            writer.finish()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::{Jsonl, mix_tests::numbered};
    use crate::testing::Bench;
    use serde_json::json;
    use std::collections::BTreeSet;

    fn ids(bench: &Bench, location: &str) -> Vec<String> {
        let context = bench.context("reading");
        let corpus = Documents::open(&bench.publish(location), &context).expect("opens");
        let read = corpus.read(&["n".to_owned()]).expect("reads");
        read.map(|document| document.expect("reads").1.id).collect()
    }

    #[test]
    fn parts_are_disjoint_in_order_and_of_the_asked_sizes() {
        let bench = Bench::new();
        numbered(&bench, "a.jsonl", 100);
        bench
            .run::<Jsonl>("all", json!({ "files": ["a.jsonl"], "keep_columns": ["n"] }))
            .expect("reads");
        let params = json!({ "corpus": "@all", "fractions": { "slice": 0.25, "rest": 0.5 } });
        bench
            .run_with::<Split>(&bench.context("parts"), params)
            .expect("splits");
        let (slice, rest) = (ids(&bench, "parts/slice"), ids(&bench, "parts/rest"));
        assert_eq!((slice.len(), rest.len()), (25, 50));
        let all: BTreeSet<_> = slice.iter().chain(&rest).collect();
        assert_eq!(all.len(), 75);
        let numbers: Vec<u32> = rest
            .iter()
            .map(|id| id.trim_start_matches("a.jsonl-").parse().expect("a number"))
            .collect();
        assert!(numbers.is_sorted());
        assert_ne!(numbers[..5], [0, 1, 2, 3, 4], "drawn, not cut");
    }

    #[test]
    fn a_part_without_documents_is_a_mistake() {
        let bench = Bench::new();
        numbered(&bench, "a.jsonl", 3);
        bench
            .run::<Jsonl>("all", json!({ "files": ["a.jsonl"] }))
            .expect("reads");
        let params = json!({ "corpus": "@all", "fractions": { "slice": 0.1 } });
        let error = bench
            .run_with::<Split>(&bench.context("parts"), params)
            .expect_err("nothing");
        assert_eq!(error.code(), "empty_split");
    }
}
