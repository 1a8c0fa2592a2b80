//! A task ready to be asked: its templates read, its records at hand.

use super::file::{GenerationMetric, KINDS, Shots, Source, TaskFile};
use super::records::{self, Record};
use crate::inference::Sampling;
use crate::template::Template;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// A task ready to be asked.
#[derive(Debug, Clone)]
pub struct Task {
    /// What the file says.
    pub file: TaskFile,
    pub(super) path: PathBuf,
    pub(super) text: Template,
    pub(super) kind: Kind,
    pub(super) data: PathBuf,
    pub(super) records: Vec<Record>,
    /// What examples are drawn from; none: the records themselves.
    pub(super) pool: Option<Vec<Record>>,
}

/// What is asked, with its templates read.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// One question, several answers.
    Choices { choices: Choices, gold: Template },
    /// Several questions, one answer.
    Contexts {
        field: String,
        target: Template,
        gold: Template,
    },
    /// A label out of a few.
    Labels { labels: Vec<String>, gold: Template },
    /// Free text.
    Text { references: References },
    /// One continuation.
    LastWord { target: Template },
}

#[derive(Debug, Clone)]
pub(super) enum Choices {
    Field(String),
    Templates(Vec<Template>),
}

#[derive(Debug, Clone)]
pub(super) enum References {
    Field(String),
    Template(Template),
}

impl Task {
    /// Opens a task file and its data; `data` is the folder that LYCEUM_DATA names.
    ///
    /// # Errors
    /// `missing_file`, `bad_task`, `bad_template`, `no_records`, and those of reading JSON lines.
    pub fn open(path: &Path, data: Option<&Path>) -> Result<Self> {
        let file = TaskFile::read(path)?;
        let kind = kind(&file).map_err(|error| error.in_file(path))?;
        let text = template(&file.text, "text").map_err(|error| error.in_file(path))?;
        if file.version == 0 {
            return Err(wrong("`version` counts from 1", "version = 1").in_file(path));
        }
        let read = |source: &Source| -> Result<(PathBuf, Vec<Record>)> {
            let place = records::data_file(path, &source.file, data)?;
            let records = records::read(&place, source)?;
            Ok((place, records))
        };
        let (place, records) = read(&file.source)?;
        let apart = file.shots.as_ref().and_then(|shots| shots.source.as_ref());
        let pool = apart
            .filter(|source| **source != file.source)
            .map(|source| read(source).map(|(_, records)| records))
            .transpose()?;
        Ok(Self {
            text,
            kind,
            path: path.to_path_buf(),
            data: place,
            records,
            pool,
            file,
        })
    }

    /// The data files that a task file names, where they lie.
    ///
    /// # Errors
    /// As reading the task file; `missing_file`.
    pub fn data_files(path: &Path, data: Option<&Path>) -> Result<Vec<PathBuf>> {
        let file = TaskFile::read(path)?;
        let apart = file.shots.and_then(|shots| shots.source);
        let mut places = vec![records::data_file(path, &file.source.file, data)?];
        if let Some(source) = apart {
            places.push(records::data_file(path, &source.file, data)?);
        }
        places.dedup();
        Ok(places)
    }

    /// How many records there are.
    pub fn records(&self) -> usize {
        self.records.len()
    }

    /// How examples stand before a question, if the file says so.
    pub fn shots(&self) -> Option<&Shots> {
        self.file.shots.as_ref()
    }

    /// How the model writes, and what of it is measured, if it writes.
    pub fn writing(&self) -> Option<(&Sampling, &[GenerationMetric])> {
        let generation = self.file.generation.as_ref()?;
        Some((&generation.sampling, &generation.metrics))
    }
}

/// The one kind that the file has. `bad_task`, `bad_template`.
fn kind(file: &TaskFile) -> Result<Kind> {
    let given = usize::from(file.multiple_choice.is_some())
        + usize::from(file.classification.is_some())
        + usize::from(file.generation.is_some())
        + usize::from(file.last_word.is_some());
    if given != 1 {
        let message = format!("a task has exactly one of {KINDS}; found {given}");
        return Err(wrong(message, "keep the one that the task is measured by"));
    }
    if let Some(choice) = &file.multiple_choice {
        let gold = template(&choice.gold, "multiple_choice.gold")?;
        return match (&choice.choices, &choice.options, &choice.contexts, &choice.target) {
            (Some(field), None, None, None) => Ok(Kind::Choices {
                choices: Choices::Field(field.clone()),
                gold,
            }),
            (None, Some(options), None, None) if options.len() >= 2 => {
                let options = options
                    .iter()
                    .map(|option| template(option, "multiple_choice.options"));
                Ok(Kind::Choices {
                    choices: Choices::Templates(options.collect::<Result<_>>()?),
                    gold,
                })
            }
            (None, None, Some(field), Some(target)) => Ok(Kind::Contexts {
                field: field.clone(),
                target: template(target, "multiple_choice.target")?,
                gold,
            }),
            _ => Err(wrong(
                "`[multiple_choice]` has either `choices`, or two or more `options`, or `contexts` with `target`",
                "choices = \"the field that lists them\"",
            )),
        };
    }
    if let Some(classification) = &file.classification {
        if classification.labels.len() < 2 {
            return Err(wrong(
                "`classification.labels` names at least two labels",
                "add labels",
            ));
        }
        return Ok(Kind::Labels {
            labels: classification.labels.clone(),
            gold: template(&classification.gold, "classification.gold")?,
        });
    }
    if let Some(generation) = &file.generation {
        if generation.metrics.is_empty() {
            return Err(wrong(
                "`generation.metrics` is empty",
                "metrics = [\"exact_match\"]",
            ));
        }
        let references = match (&generation.references, &generation.target) {
            (Some(field), None) => References::Field(field.clone()),
            (None, Some(target)) => References::Template(template(target, "generation.target")?),
            _ => {
                return Err(wrong(
                    "`[generation]` has either `target` or `references`",
                    "target = \"{{ output }}\"",
                ));
            }
        };
        if let Some(problem) = generation.sampling.problems("generation.sampling").first() {
            return Err(wrong(
                format!("`{}`: {}", problem.field, problem.message),
                problem.hint.clone().unwrap_or_default(),
            ));
        }
        return Ok(Kind::Text { references });
    }
    let target = file.last_word.as_ref().map_or("", |last| &last.target);
    Ok(Kind::LastWord {
        target: template(target, "last_word.target")?,
    })
}

/// Reads the template under a key.
fn template(source: &str, key: &str) -> Result<Template> {
    Template::parse_exact(source).map_err(|error| {
        let Error::Data(mut error) = error else {
            return error;
        };
        error.message = format!("`{key}`: {}", error.message);
        Error::Data(error).hint("mend the template")
    })
}

fn wrong(message: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::data("bad_task", message).hint(hint)
}
