//! `corpus.mix`: several corpora in one, by shares.

use super::{Documents, Sampler};
use crate::artifact::{Cell, CorpusWriter, Document};
use crate::component::{Output, Problem, main_output};
use crate::reference;
use crate::{Component, Context, Error, Estimate, Kind, Ref, Result, Seeding, Size, Sizes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Mixes corpora.
#[derive(Debug)]
pub enum Mix {}

/// Parameters of `corpus.mix`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MixParams {
    /// What to mix.
    #[schemars(length(min = 1))]
    pub sources: Vec<MixSource>,
    /// Documents in the mixture. As many as the shares allow without repeating any, unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "documents"))]
    pub documents: Option<u64>,
}

/// One corpus of a mixture.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MixSource {
    /// The documents.
    pub corpus: Ref<reference::Documents>,
    /// Its share of the documents, in proportion to the other sources' weights.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub weight: f64,
}

impl Component for Mix {
    type Params = MixParams;
    const NAME: &'static str = "corpus.mix";
    const SUMMARY: &'static str = "Mixes documents of several corpora by weights";
    const SEEDING: Seeding = Seeding::Fixed;
    const EXAMPLE: &'static str = r#"use = "corpus.mix"
sources = [{ corpus = "@pool", weight = 0.7 }, { corpus = "@clean", weight = 0.3 }]
"#;

    fn outputs(_: &MixParams) -> Vec<Output> {
        main_output(Kind::Corpus)
    }

    fn check(params: &MixParams) -> Vec<Problem> {
        let total: f64 = params.sources.iter().map(|source| source.weight).sum();
        if total.is_finite() {
            return Vec::new();
        }
        vec![Problem {
            field: "sources".to_owned(),
            code: "weights_not_finite",
            message: "the weights have no finite sum".to_owned(),
            hint: None,
        }]
    }

    fn estimate(params: &MixParams, sizes: &Sizes) -> Estimate {
        let total: f64 = params.sources.iter().map(|source| source.weight).sum();
        let parts: Vec<(Size, f64)> = params
            .sources
            .iter()
            .map(|source| (sizes.of(source.corpus.as_str()), source.weight / total))
            .collect();
        let most = |of: fn(&Size) -> f64| {
            let bounds = parts.iter().map(|(size, share)| of(size) / share);
            bounds.fold(f64::INFINITY, f64::min)
        };
        let items = most(|size| size.items);
        let scale = params
            .documents
            .map_or(1.0, |n| if items > 0.0 { n as f64 / items } else { 1.0 });
        let size = Size {
            items: params.documents.map_or(items, |n| n as f64),
            tokens: scale * most(|size| size.tokens),
            bytes: scale * most(|size| size.bytes),
            ..Size::default()
        };
        Estimate {
            outputs: [(String::new(), size)].into(),
            ..Estimate::default()
        }
    }

    fn run(params: MixParams, context: &Context) -> Result<()> {
        let sources = params
            .sources
            .iter()
            .map(|source| {
                let documents = Documents::open(&context.open(&source.corpus)?, context)?;
                documents.refuse_weights()?;
                Ok(documents)
            })
            .collect::<Result<Vec<_>>>()?;
        let lengths: Vec<u64> = sources.iter().map(Documents::len).collect();
        let counts = counts(&params, &lengths)?;
        let total = counts.iter().sum();

        // The mixture has every column of any source; where a source lacks it, it is empty.
        let mut columns: Vec<String> = Vec::new();
        for name in sources.iter().flat_map(|source| &source.details().columns) {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
        let mut writer = CorpusWriter::create(&context.output("")?, &columns)?;
        let mut readers = Vec::new();
        for (number, (source, count)) in sources.iter().zip(&counts).enumerate() {
            let own = source.details().columns.clone();
            let places: Vec<_> = columns
                .iter()
                .map(|name| own.iter().position(|c| c == name))
                .collect();
            let stream = context.stream(&format!("mix {number}"));
            let mut sampler = Sampler::new(stream, vec![*count], source.len());
            let kept = source
                .read(&own)?
                .filter(move |document| document.is_err() || sampler.next_part().is_some());
            readers.push((kept, places));
        }

        let bar = context.services.bar("mixing", total, "documents");
        let mut turns = Sampler::new(context.stream("mix order"), counts, total);
        while let Some(turn) = turns.next_part() {
            let (reader, places) = &mut readers[turn];
            let (_, document) = reader.next().expect("as many turns as documents were drawn")?;
            let cells = places
                .iter()
                .map(|place| place.map_or(Cell::Null, |i| document.cells[i].clone()))
                .collect();
            writer.push(Document { cells, ..document })?;
            bar.advance(1);
            if writer.documents() % 1024 == 0 {
                context.check_cancelled()?;
            }
        }
        writer.finish()?;
        Ok(())
    }
}

/// How many documents come from each source. `not_enough_documents`: one has fewer than its share. `empty_split`: one
/// has none.
fn counts(params: &MixParams, lengths: &[u64]) -> Result<Vec<u64>> {
    let sum: f64 = params.sources.iter().map(|source| source.weight).sum();
    let shares: Vec<f64> = params.sources.iter().map(|source| source.weight / sum).collect();
    let most = lengths
        .iter()
        .zip(&shares)
        .map(|(&length, share)| length as f64 / share);
    // A little above, so that exact proportions are not lost to rounding; `counts` are capped below.
    let most = (most.fold(f64::INFINITY, f64::min) + 1e-6) as u64;
    let total = params.documents.unwrap_or(most);
    let mut running = 0.0;
    let mut before = 0;
    let mut counts = Vec::new();
    for ((source, share), &length) in params.sources.iter().zip(&shares).zip(lengths) {
        running += share;
        let cut = ((running * total as f64).round() as u64).min(total);
        let mut count = cut - before;
        before = cut;
        let name = source.corpus.as_str();
        if count > length && params.documents.is_none() {
            count = length;
        }
        if count > length {
            return Err(Error::data(
                "not_enough_documents",
                format!("`{name}` has {length} documents; its share of {total} is {count}"),
            )
            .hint("lower `documents`, or the weight of this source"));
        }
        if count == 0 {
            return Err(Error::data(
                "empty_split",
                format!("the share of `{name}` in {total} documents is none"),
            )
            .hint("raise `documents`, or the weight of this source"));
        }
        counts.push(count);
    }
    Ok(counts)
}
