//! Labelled inputs as a corpus: a document's text is its inputs, decimal numbers with spaces between them, and its column
//! `label` is 0 or 1. Decimal numbers are written so that reading gives the same bits.

use crate::artifact::{Cell, CorpusWriter, Document};
use crate::corpus::Documents;
use crate::trajectory::{Examples, Number};
use crate::{Artifact, Context, Error, Result};
use std::fmt::Write;
use std::path::Path;

/// The column that holds labels.
const LABEL: &str = "label";

/// Examples with inputs of one width.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Labelled<N> {
    /// Inputs of an example.
    pub(crate) width: usize,
    pub(crate) examples: Examples<N>,
}

impl<N: Number> Labelled<N> {
    /// Reads a corpus.
    ///
    /// # Errors
    /// `missing_column`; `bad_input`, naming the document: a text that is not numbers, or of another width than the first, or
    /// a label that is neither 0 nor 1.
    pub(crate) fn read(artifact: &Artifact, context: &Context) -> Result<Self> {
        let documents = Documents::open(artifact, context)?;
        documents.refuse_weights()?;
        let mut width = None;
        let mut examples = Examples {
            inputs: Vec::new(),
            labels: Vec::new(),
        };
        for row in documents.read(&[LABEL.to_owned()])? {
            let (index, document) = row?;
            let bad = |what: String| {
                Error::data("bad_input", what)
                    .at(format!("document {index} of `{}`", artifact.label))
                    .hint("make labelled inputs with `corpus.teacher_student`, or give a decoder as `model`")
            };
            let before = examples.inputs.len();
            for word in document.text.split_whitespace() {
                let number = word.parse::<f64>().ok().filter(|number| number.is_finite());
                let number = number.ok_or_else(|| bad(format!("`{word:.40}` is not a number")))?;
                examples.inputs.push(N::of(number));
            }
            let found = examples.inputs.len() - before;
            let wanted = *width.get_or_insert(found);
            if found != wanted || found == 0 {
                return Err(bad(format!(
                    "{found} inputs were found; expected {wanted}, at least 1"
                )));
            }
            let label = match document.cells[..] {
                [Cell::Number(label)] if label == 0.0 || label == 1.0 => label,
                [Cell::Bool(label)] => f64::from(u8::from(label)),
                _ => return Err(bad("the label is neither 0 nor 1".to_owned())),
            };
            examples.labels.push(label);
        }
        Ok(Self {
            width: width.unwrap_or_default(),
            examples,
        })
    }
}

/// Writes examples as a corpus in `folder`.
pub(crate) fn write_labelled(folder: &Path, width: usize, examples: &Examples<f64>) -> Result<()> {
    let mut writer = CorpusWriter::create(folder, &[LABEL.to_owned()])?;
    let rows = examples.inputs.chunks(width).zip(&examples.labels);
    for (number, (inputs, label)) in rows.enumerate() {
        let mut text = String::new();
        for (i, input) in inputs.iter().enumerate() {
            let space = if i > 0 { " " } else { "" };
            write!(text, "{space}{input}").expect("writing into memory");
        }
        writer.push(Document {
            id: number.to_string(),
            text,
            cells: vec![Cell::Number(*label)],
        })?;
    }
    writer.finish().map(|_| ())
}
