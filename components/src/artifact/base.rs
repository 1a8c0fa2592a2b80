//! The header every artifact folder carries.

use crate::format::newer_format;
use crate::{Error, Result, disk};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Name of the header inside an artifact's folder.
pub const HEADER: &str = "artifact.json";
/// The layout version that this program writes and reads.
const FORMAT: u32 = 1;

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Documents.
    Corpus,
    /// A tokenizer.
    Tokenizer,
    /// Packed blocks of token ids.
    Tokens,
    /// One row an item.
    Scores,
    /// Items chosen from one source, in order, with weights.
    Selection,
    /// A model in Hugging Face's layout.
    Model,
    /// Measurements in long form.
    Table,
    /// One vector a document.
    Embeddings,
    /// Instructions with their answers.
    Pairs,
    /// Texts that a model wrote.
    Generations,
    /// Weights of examples at every step of a training.
    Policy,
    /// Token ids in the layout of another program.
    Shards,
    /// A teacher's likeliest tokens at every predicted place of packed tokens.
    TeacherCache,
}

impl Kind {
    /// The name in schemas and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Corpus => "corpus",
            Self::Tokenizer => "tokenizer",
            Self::Tokens => "tokens",
            Self::Scores => "scores",
            Self::Selection => "selection",
            Self::Model => "model",
            Self::Table => "table",
            Self::Embeddings => "embeddings",
            Self::Pairs => "pairs",
            Self::Generations => "generations",
            Self::Policy => "policy",
            Self::Shards => "shards",
            Self::TeacherCache => "teacher_cache",
        }
    }
}

/// The artifact that scores or a selection speak of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Where it lies in a store: see [`Artifact::location`].
    pub location: String,
    /// Its fingerprint, so that another artifact is never taken for it.
    pub fingerprint: String,
}

/// What `artifact.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// Version of the folder's layout.
    pub format: u32,
    /// BLAKE3 of the content, in hex.
    pub fingerprint: String,
    /// What it speaks of, if it is a view.
    pub source: Option<Source>,
    /// What this kind keeps besides.
    pub details: Value,
}

/// An artifact that can be read: its folder, its header, and its name in the experiment.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// Its folder.
    pub path: PathBuf,
    /// Its place relative to the store, as in `tokens.pack/<key>/train`. Stable; what other artifacts record.
    pub location: String,
    /// The step and variant that the experiment calls it by, as in `student[uniform]`.
    pub label: String,
    /// Its header.
    pub header: Header,
}

impl Artifact {
    /// Reads the header in `path`.
    pub fn open(path: &Path, location: &str, label: &str) -> Result<Self> {
        let file = path.join(HEADER);
        let text = std::fs::read(&file).map_err(Error::io("cannot read", &file))?;
        if let Some(format) = newer_format(&text, FORMAT) {
            return Err(Error::newer(&file, format, FORMAT));
        }
        let header: Header = serde_json::from_slice(&text).map_err(|e| {
            Error::data("bad_artifact", format!("not an artifact's header: {e}"))
                .in_file(&file)
                .hint("delete the folder; the next run makes it again")
        })?;
        if header.format != FORMAT {
            return Err(Error::data(
                "unknown_format",
                format!(
                    "layout version {} was found; this program reads {FORMAT}",
                    header.format
                ),
            )
            .in_file(&file));
        }
        Ok(Self {
            path: path.to_path_buf(),
            location: location.to_owned(),
            label: label.to_owned(),
            header,
        })
    }

    /// Itself if it is one of `kinds`, else an error that says so.
    pub fn expect(self, kinds: &[Kind]) -> Result<Self> {
        if kinds.contains(&self.header.kind) {
            return Ok(self);
        }
        let wanted: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
        Err(Error::data(
            "wrong_kind",
            format!(
                "`{}` is of kind {}; expected {}",
                self.label,
                self.header.kind.name(),
                wanted.join(" or ")
            ),
        ))
    }

    /// The kind-specific part of the header.
    pub fn details<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(&self.header.details).map_err(|e| {
            Error::data("bad_artifact", format!("header of `{}`: {e}", self.label))
                .in_file(self.path.join(HEADER))
        })
    }

    /// How another artifact records this one.
    pub fn as_source(&self) -> Source {
        Source {
            location: self.location.clone(),
            fingerprint: self.header.fingerprint.clone(),
        }
    }
}

/// Writes the header of the artifact in `folder`.
pub fn write_header(
    folder: &Path,
    kind: Kind,
    fingerprint: impl Into<String>,
    source: Option<Source>,
    details: impl Serialize,
) -> Result<()> {
    let file = folder.join(HEADER);
    let details = serde_json::to_value(details).expect("headers hold plain data");
    let header = Header {
        kind,
        format: FORMAT,
        fingerprint: fingerprint.into(),
        source,
        details,
    };
    let text = serde_json::to_vec_pretty(&header).expect("headers hold plain data");
    disk::write(&file, text).map_err(Error::io("cannot write", &file))
}
