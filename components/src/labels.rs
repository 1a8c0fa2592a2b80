//! What a column of a corpus says of its documents, and through them of blocks. Evaluations open it, and a selection
//! whose quotas name a column; scores and training never do.

use crate::artifact::{DOCUMENTS_FILE, Item, View};
use crate::table::read_text_column;
use crate::tokens::Blocks;
use crate::{Artifact, Context, Error, Kind, Result};
use std::collections::BTreeSet;

/// How a cell without a value is called.
const NONE: &str = "(none)";

/// The labels of a corpus's documents.
pub(crate) struct Labels {
    fingerprint: String,
    names: Vec<String>,
    of_document: Vec<usize>,
}

impl Labels {
    /// Reads `column` of the corpus behind `documents`.
    pub(crate) fn read(documents: Artifact, column: &str, context: &Context) -> Result<Self> {
        let corpus = View::open(&documents, context)?.source.expect(&[Kind::Corpus])?;
        let cells = read_text_column(&corpus.path.join(DOCUMENTS_FILE), column)?;
        let name = |cell: &Option<String>| cell.clone().unwrap_or_else(|| NONE.to_owned());
        let cells: Vec<String> = cells.iter().map(name).collect();
        let names: Vec<String> = cells
            .iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .cloned()
            .collect();
        let place = |cell| names.binary_search(cell).expect("every cell is among the names");
        Ok(Self {
            fingerprint: corpus.header.fingerprint,
            of_document: cells.iter().map(place).collect(),
            names,
        })
    }

    /// The different labels, in alphabetical order.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The place among [`Labels::names`] of what `document` is labelled with.
    pub(crate) fn of(&self, document: u64) -> usize {
        self.of_document[document as usize]
    }

    /// Refuses labels of another corpus than the one `blocks` were packed from (`corpus_mismatch`), and of blocks that were
    /// packed elsewhere (`no_corpus`).
    pub(crate) fn check_blocks(&self, blocks: &Blocks, context: &Context) -> Result<()> {
        let Some(packed) = &blocks.details().corpus else {
            return Err(Error::data(
                "no_corpus",
                "the tokens were imported: no corpus says which documents they come from",
            )
            .hint("import every group by a step of its own"));
        };
        if packed.fingerprint != self.fingerprint {
            let corpus = View::open(&context.open_source(packed)?, context)?.source;
            self.check_corpus(&corpus)?;
        }
        check_range(
            "document",
            blocks.documents().checked_sub(1),
            self.of_document.len() as u64,
        )
    }

    fn check_corpus(&self, corpus: &Artifact) -> Result<()> {
        if corpus.header.fingerprint == self.fingerprint {
            return Ok(());
        }
        Err(Error::data(
            "corpus_mismatch",
            "the labels are those of another corpus than the items come from",
        )
        .hint("name the corpus that was packed"))
    }
}

/// Refuses items of which the last, if there are any, is not among `count`.
fn check_range(what: &str, last: Option<u64>, count: u64) -> Result<()> {
    match last.filter(|&last| last >= count) {
        None => Ok(()),
        Some(last) => Err(Error::data(
            "index_out_of_range",
            format!("{what} {last} is named, of {count}"),
        )
        .hint("an artifact is damaged: delete its folder, and the next run makes it again")),
    }
}

/// The labels of items, whatever their kind.
pub(crate) struct ItemLabels {
    labels: Labels,
    blocks: Option<Blocks>,
}

impl ItemLabels {
    /// For items of `source`: tokens, a corpus, or a selection from either.
    pub(crate) fn new(labels: Labels, item: Item, source: Artifact, context: &Context) -> Result<Self> {
        let source = View::open(&source, context)?.source;
        let blocks = if source.header.kind == Kind::Tokens {
            let blocks = Blocks::open(&source, context)?;
            labels.check_blocks(&blocks, context)?;
            (item == Item::Block).then_some(blocks)
        } else {
            labels.check_corpus(&source)?;
            None
        };
        Ok(Self { labels, blocks })
    }

    /// Refuses numbers that no item has. `index_out_of_range`.
    pub(crate) fn check(&self, index: &[u64]) -> Result<()> {
        let (what, count) = match &self.blocks {
            Some(blocks) => (Item::Block, blocks.details().blocks),
            None => (Item::Document, self.labels.of_document.len() as u64),
        };
        check_range(what.name(), index.iter().max().copied(), count)
    }

    /// The different labels, in alphabetical order.
    pub(crate) fn names(&self) -> &[String] {
        self.labels.names()
    }

    /// What share of item `index` has which label, by tokens; they sum to one.
    pub(crate) fn shares(&self, index: u64) -> Vec<f64> {
        let mut shares = vec![0.0; self.labels.names.len()];
        let Some(blocks) = &self.blocks else {
            shares[self.labels.of(index)] = 1.0;
            return shares;
        };
        let segments = blocks.segments(index);
        let total: f64 = segments.iter().map(|segment| f64::from(segment.tokens)).sum();
        for segment in segments {
            shares[self.labels.of(segment.document)] += f64::from(segment.tokens) / total;
        }
        shares
    }

    /// The label with the largest share of item `index`; of equal shares the first.
    pub(crate) fn largest(&self, index: u64) -> usize {
        let shares = self.shares(index);
        let better = |best: usize, label: usize| if shares[label] > shares[best] { label } else { best };
        (0..shares.len()).fold(0, better)
    }
}
