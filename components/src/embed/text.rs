//! `embed.text`: one vector a document.

use crate::artifact::{Document, Embeddings, EmbeddingsDetails, EmbeddingsWriter};
use crate::component::{Component, Estimate, Output, Problem, Sharding, Size, Sizes, main_output};
use crate::corpus::Documents;
use crate::flops::forward_flops;
use crate::inference::{LanguageModel, Pooling, Texts, embed};
use crate::reference::{self, Ref};
use crate::{Artifact, Context, Error, Kind, Result, disk};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Batches that are embedded between two checkpoints of the work.
const CHUNK_BATCHES: usize = 32;

/// Hidden states of a model, pooled to one vector a document. Leaves `embeddings.npy` and `ids.parquet`.
#[derive(Debug, Clone, Copy)]
pub struct Text;

/// What `embed.text` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextParams {
    /// The model that reads.
    pub model: Ref<reference::Model>,
    /// The documents; one that a selection repeats has a vector each time.
    pub corpus: Ref<reference::Documents>,
    /// How the states after all tokens become one vector: their `mean`, or the `last` one.
    #[serde(default)]
    pub pooling: Pooling,
    /// Whether vectors are scaled to length 1.
    #[serde(default)]
    pub normalise: bool,
    /// A template over `id`, `text` and the kept columns for what is read; the text where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"query: {{ text }}")]
    pub template: Option<String>,
    /// Whether the tokenizer puts around a text what it is made to, as a token of beginning.
    #[serde(default = "yes")]
    pub add_special_tokens: bool,
    /// Whether of a text longer than the model's context the beginning is taken, instead of failing.
    #[serde(default)]
    pub truncate: bool,
    /// Documents that go through the model together.
    #[serde(default = "crate::score::batch_size")]
    #[schemars(range(min = 1, max = 65536), extend("x-unit" = "documents", "x-runtime" = true))]
    pub batch_size: usize,
}

fn yes() -> bool {
    true
}

impl Component for Text {
    type Params = TextParams;
    const NAME: &'static str = "embed.text";
    const SUMMARY: &'static str = "one vector a document: a model's hidden states, pooled";
    const NUMERIC: bool = true;
    const SHARDING: Sharding = Sharding::Items;
    const EXAMPLE: &'static str = r#"use = "embed.text"
model = "@teacher"
corpus = "@pool"
"#;

    fn outputs(_: &TextParams) -> Vec<Output> {
        main_output(Kind::Embeddings)
    }

    fn check(params: &TextParams) -> Vec<Problem> {
        let Some(Err(error)) = params.template.as_deref().map(Texts::parse) else {
            return Vec::new();
        };
        vec![Problem {
            field: "template".to_owned(),
            code: "bad_template",
            message: error.to_string(),
            hint: None,
        }]
    }

    fn estimate(params: &TextParams, sizes: &Sizes) -> Estimate {
        let (corpus, model) = (sizes.of(params.corpus.as_str()), sizes.of(params.model.as_str()));
        let vectors = Size {
            items: corpus.items,
            ..Size::default()
        };
        Estimate {
            outputs: [(String::new(), vectors)].into(),
            // Of a corpus only its bytes are known; a token has some four.
            flops: model.flops_per_token * corpus.bytes / 4.0,
            memory: model.parameters * 4.0,
            ..Estimate::default()
        }
    }

    fn run(params: TextParams, context: &Context) -> Result<()> {
        let corpus = context.open(&params.corpus)?;
        let documents = Documents::open(&corpus, context)?;
        if documents.is_empty() {
            return Err(Error::data("empty_input", "there are no documents to embed"));
        }
        let artifact = context.open(&params.model)?;
        let model = LanguageModel::open(&artifact, &context.device, context.precision)?;
        let template = params.template.as_deref().map(Texts::parse).transpose()?;
        let work = Work {
            context,
            documents: &documents,
            model: &model,
            template,
            params: &params,
        };
        let range = context.shard.range(documents.len().div_ceil(work.chunk_size()));
        let range = range.start * work.chunk_size()..(range.end * work.chunk_size()).min(documents.len());
        let details = EmbeddingsDetails {
            rows: range.end.saturating_sub(range.start),
            width: model.loaded.config.hidden_size as u64,
            model: artifact.header.fingerprint.clone(),
            precision: context.precision,
        };
        let mut writer = EmbeddingsWriter::create(&context.output("")?, details)?;
        work.run(range, &mut writer)?;
        writer.finish(corpus.as_source())
    }

    fn merge(_: TextParams, parts: &[PathBuf], context: &Context) -> Result<()> {
        let mut parts_read = Vec::new();
        let mut source = None;
        for folder in parts {
            let artifact = Artifact::open(folder, "", "a shard's embeddings")?;
            source = source.or_else(|| artifact.header.source.clone());
            parts_read.push(Embeddings::open(&artifact)?);
        }
        let (Some(first), Some(source)) = (parts_read.first(), source) else {
            return Err(Error::data(
                "bad_artifact",
                "a shard's embeddings do not say what they are of",
            ));
        };
        let rows = parts_read.iter().map(|part| part.details().rows).sum();
        let details = EmbeddingsDetails {
            rows,
            ..first.details().clone()
        };
        let mut writer = EmbeddingsWriter::create(&context.output("")?, details)?;
        for part in &parts_read {
            for (row, (index, id)) in part.index().iter().zip(part.ids()).enumerate() {
                writer.push(*index, id, &part.row(row as u64))?;
            }
        }
        writer.finish(source)
    }
}

/// The work of a run.
struct Work<'a> {
    context: &'a Context,
    documents: &'a Documents,
    model: &'a LanguageModel,
    template: Option<Texts>,
    params: &'a TextParams,
}

impl Work<'_> {
    /// Chunks begin at the same documents for every shard, so that batches and so bytes are the same.
    fn chunk_size(&self) -> u64 {
        (CHUNK_BATCHES * self.params.batch_size) as u64
    }

    fn run(&self, range: std::ops::Range<u64>, writer: &mut EmbeddingsWriter) -> Result<()> {
        let services = &self.context.services;
        let bar = services.bar("embedding", range.end.saturating_sub(range.start), "documents");
        let (mut tokens, mut flops) = (0, 0.0);
        let columns = &self.documents.details().columns;
        let width = self.model.loaded.config.hidden_size;
        for start in range.clone().step_by(self.chunk_size() as usize) {
            self.context.check_cancelled()?;
            let end = (start + self.chunk_size()).min(range.end);
            let mut names = Vec::new();
            let mut texts = Vec::new();
            for read in self.documents.read_at(columns, start..end)? {
                let (index, document) = read?;
                let ids = self.ids(&document, columns);
                texts.push(ids.map_err(|error| error.at(format!("document `{}`", document.id)))?);
                names.push((index, document.id));
            }
            tokens += texts.iter().map(|ids| ids.len() as u64).sum::<u64>();
            let config = &self.model.loaded.config;
            flops += texts
                .iter()
                .map(|ids| forward_flops(config, ids.len()))
                .sum::<f64>();
            let file = self
                .context
                .scratch
                .join(format!("vectors-{start:012}-{}", self.chunk_size()));
            let vectors = match kept(&file, texts.len() * width)? {
                Some(vectors) => {
                    bar.advance(end - start);
                    vectors
                }
                None => {
                    let vectors = self.chunk(&texts, &mut |documents| bar.advance(documents))?;
                    keep(&file, &vectors)?;
                    vectors
                }
            };
            for ((index, id), vector) in names.iter().zip(vectors.chunks(width)) {
                writer.push(*index, id, vector)?;
            }
        }
        services.cost(tokens, flops);
        Ok(())
    }

    /// What is read of a document. `text_too_long`, `empty_text`.
    fn ids(&self, document: &Document, columns: &[String]) -> Result<Vec<u32>> {
        let rendered = self
            .template
            .as_ref()
            .map(|template| template.of(document, columns));
        let rendered = rendered.transpose()?;
        let text = rendered.as_deref().unwrap_or(&document.text);
        let mut ids = self.model.encode(text, self.params.add_special_tokens)?;
        let context = self.model.context();
        if ids.len() > context && !self.params.truncate {
            let message = format!(
                "a text of {} tokens; the model reads at most {context}",
                ids.len()
            );
            return Err(
                Error::data("text_too_long", message).hint("set `truncate = true`, or split the documents")
            );
        }
        ids.truncate(context);
        if ids.is_empty() {
            return Err(Error::data("empty_text", "a text without a token has no vector")
                .hint("leave empty documents out"));
        }
        Ok(ids)
    }

    /// The vectors of texts, one after the other. `non_finite_embedding`.
    fn chunk(&self, texts: &[Vec<u32>], done: &mut dyn FnMut(u64)) -> Result<Vec<f32>> {
        let width = self.model.loaded.config.hidden_size;
        let mut vectors = vec![0.0; texts.len() * width];
        // Those of similar length go together, so that little is padded.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&i| texts[i].len());
        for batch in order.chunks(self.params.batch_size) {
            self.context.check_cancelled()?;
            let ids: Vec<&[u32]> = batch.iter().map(|&i| texts[i].as_slice()).collect();
            let decoder = &self.model.loaded.decoder;
            let pooled = embed(decoder, &ids, self.params.pooling, &self.context.device);
            for (&i, mut vector) in batch.iter().zip(pooled) {
                if self.params.normalise {
                    normalise(&mut vector);
                }
                if vector.iter().any(|x| !x.is_finite()) {
                    let message = format!("the vector of a text of {} tokens is not finite", texts[i].len());
                    return Err(Error::data("non_finite_embedding", message)
                        .hint("the model has diverged; train it with a lower learning rate"));
                }
                vectors[i * width..(i + 1) * width].copy_from_slice(&vector);
            }
            done(batch.len() as u64);
        }
        Ok(vectors)
    }
}

/// Scales a vector to length 1.
fn normalise(vector: &mut [f32]) {
    let length = vector.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        for x in vector {
            *x = (f64::from(*x) / length) as f32;
        }
    }
}

/// The numbers that an earlier try kept, if it came so far.
fn kept(file: &Path, numbers: usize) -> Result<Option<Vec<f32>>> {
    if !file.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(file).map_err(Error::io("cannot read", file))?;
    let (found, rest) = bytes.as_chunks();
    let whole = found.len() == numbers && rest.is_empty();
    Ok(whole.then(|| found.iter().map(|&b| f32::from_le_bytes(b)).collect()))
}

fn keep(file: &Path, vectors: &[f32]) -> Result<()> {
    let bytes: Vec<u8> = vectors.iter().flat_map(|x| x.to_le_bytes()).collect();
    disk::write_atomically(file, bytes).map_err(Error::io("cannot write", file))
}
