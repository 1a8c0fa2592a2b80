//! Questions that models are asked: made of pairs, of documents, or read from blocks that begin with a prompt.

use crate::artifact::{Cell, Document, InstructionPair};
use crate::corpus::{Documents, Pairs};
use crate::inference::{LanguageModel, Prompt};
use crate::pair_template::{BuiltIn, PairTemplate};
use crate::template::Template;
use crate::tokens::Blocks;
use crate::{Artifact, Context, Error, FilePath, Kind, Result};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// How questions are made.
pub(super) struct Rules<'a> {
    /// Of pairs.
    pub(super) template: BuiltIn,
    /// Of pairs, instead.
    pub(super) template_file: Option<&'a FilePath>,
    /// Of pairs and documents: with what the tokenizer puts around a text.
    pub(super) special: bool,
    /// Of documents.
    pub(super) prompt: &'a str,
    /// Of documents: templates of right answers.
    pub(super) references: &'a [String],
    /// What names groups: a field of `meta`, or a kept column.
    pub(super) group_by: Option<&'a str>,
    /// Only so many, from the first.
    pub(super) limit: usize,
}

/// A question with its right answers.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// Its number: the pair's, the document's or the block's.
    pub(super) instance: u64,
    asked: Asked,
    /// The first is the one whose length counts.
    pub(super) references: Vec<String>,
    /// The group it belongs to, if groups were asked for.
    pub(super) group: Option<String>,
}

#[derive(Debug, Clone)]
enum Asked {
    Text(String),
    Pair(InstructionPair),
    Ids(Vec<u32>),
}

/// Questions, and the tokenizer that those of blocks are bound to.
#[derive(Debug, Clone)]
pub(super) struct Questions {
    pub(super) all: Vec<Question>,
    tokenizer: Option<String>,
}

impl Questions {
    /// The questions in `artifact`: pairs, blocks with prompts, documents, or a selection of the latter two.
    ///
    /// # Errors
    /// `empty_data`, `no_prompts`, `no_references`, `not_for_pairs`, `unknown_group`, and those of reading.
    pub(super) fn read(artifact: &Artifact, rules: &Rules, context: &Context) -> Result<Self> {
        let kind = crate::artifact::View::open(artifact, context)?.source.header.kind;
        if kind != Kind::Corpus && !rules.references.is_empty() {
            let message = format!(
                "`references` speaks of documents; `{}` is {}",
                artifact.label,
                kind.name()
            );
            return Err(Error::data("not_for_pairs", message)
                .hint("leave `references` out: pairs have their answers with them"));
        }
        let (all, tokenizer) = match kind {
            Kind::Pairs => (of_pairs(&Pairs::open(artifact)?, rules)?, None),
            Kind::Tokens => {
                let blocks = Blocks::open(artifact, context)?;
                let tokenizer = blocks.details().tokenizer.clone();
                (of_blocks(&blocks, rules, context)?, Some(tokenizer))
            }
            _ => (of_documents(&Documents::open(artifact, context)?, rules)?, None),
        };
        if all.is_empty() {
            return Err(Error::data("empty_data", "there is nothing to make prompts of"));
        }
        // A selection may repeat: nobody is asked the same twice.
        let mut known = BTreeSet::new();
        let all = all
            .into_iter()
            .filter(|question: &Question| known.insert(question.instance))
            .collect();
        Ok(Self { all, tokenizer })
    }

    /// The questions as a model reads them.
    ///
    /// # Errors
    /// `tokenizer_mismatch`, `no_chat_template`, `bad_template`, `cannot_encode`.
    pub(super) fn prompts(
        &self,
        model: &LanguageModel,
        label: &str,
        rules: &Rules,
        context: &Context,
    ) -> Result<Vec<Prompt>> {
        if let Some(expected) = &self.tokenizer
            && model.loaded.details.tokenizer != *expected
        {
            let message =
                format!("`{label}` was trained with another tokenizer than the data was packed with");
            return Err(Error::data("tokenizer_mismatch", message)
                .hint("ask with the pairs themselves, or pack them with the tokenizer of the model"));
        }
        let pairs = self.all.iter().any(|one| matches!(one.asked, Asked::Pair(_)));
        let open = || PairTemplate::open(rules.template, rules.template_file, model.folder(), context);
        let template = pairs.then(open).transpose()?;
        let ids = |question: &Question| match (&question.asked, &template) {
            (Asked::Ids(ids), _) => Ok(ids.clone()),
            (Asked::Text(text), _) => model.encode(text, rules.special),
            (Asked::Pair(pair), Some(template)) if template.is_chat() => {
                model.encode_marked(&template.render(pair)?)
            }
            (Asked::Pair(pair), Some(template)) => model.encode(&template.render(pair)?, rules.special),
            (Asked::Pair(_), None) => unreachable!("a template was opened for pairs"),
        };
        let prompt = |question: &Question| {
            Ok(Prompt {
                row: question.instance,
                ids: ids(question)?,
            })
        };
        self.all.iter().map(prompt).collect()
    }
}

fn of_pairs(pairs: &Pairs, rules: &Rules) -> Result<Vec<Question>> {
    let question = |pair: Result<InstructionPair>| {
        let pair = pair?;
        Ok(Question {
            instance: pair.id,
            references: references(&pair),
            group: group(&pair, rules)?,
            asked: Asked::Pair(pair),
        })
    };
    pairs.read().take(rules.limit).map(question).collect()
}

/// The answers of a pair, the one that is learned first.
fn references(pair: &InstructionPair) -> Vec<String> {
    let others = pair.responses.iter().filter(|one| **one != pair.response);
    std::iter::once(&pair.response).chain(others).cloned().collect()
}

fn group(pair: &InstructionPair, rules: &Rules) -> Result<Option<String>> {
    let Some(name) = rules.group_by else {
        return Ok(None);
    };
    match pair.meta.get(name) {
        None | Some(Value::Null) => Err(unknown_group(
            name,
            pair.meta.keys(),
            &format!("pair {}", pair.id),
        )),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Ok(Some(other.to_string())),
    }
}

fn unknown_group<'a>(name: &str, known: impl Iterator<Item = &'a String>, place: &str) -> Error {
    let known: Vec<String> = known.map(|name| format!("`{name}`")).collect();
    let hint = if known.is_empty() {
        "name it in `keep_columns` of the step that reads the data".to_owned()
    } else {
        format!("take one of {}", known.join(", "))
    };
    Error::data("unknown_group", format!("there is no `{name}` to group by"))
        .at(place)
        .hint(hint)
}

/// Prompts of blocks; their answers are those of the pairs that they were made of where those are at hand, else what the
/// blocks themselves go on with.
fn of_blocks(blocks: &Blocks, rules: &Rules, context: &Context) -> Result<Vec<Question>> {
    let pairs = match &blocks.details().corpus {
        Some(source) => Some(context.open_source(source)?).filter(|found| found.header.kind == Kind::Pairs),
        None => None,
    };
    let pairs: Option<Vec<InstructionPair>> = match pairs {
        Some(pairs) => Some(Pairs::open(&pairs)?.read().collect::<Result<_>>()?),
        None => None,
    };
    let tokenizer = crate::artifact::read_tokenizer(blocks.source())?;
    let question = |position| {
        let block = blocks.get(position);
        let Some(prompt) = block.prompt else {
            let message = format!("the blocks of `{}` have no prompts", blocks.source().label);
            return Err(Error::data("no_prompts", message).hint("make them with `tokens.pairs`"));
        };
        let (prompt, response) = block.ids.split_at(prompt as usize);
        let row = blocks
            .segments(block.index)
            .first()
            .map(|segment| segment.document);
        let pair = pairs
            .as_ref()
            .zip(row)
            .and_then(|(pairs, row)| pairs.get(row as usize));
        let text = || crate::untrusted::quiet(|| tokenizer.decode(response, true).ok()).flatten();
        Ok(Question {
            instance: pair.map_or(block.index, |pair| pair.id),
            asked: Asked::Ids(prompt.to_vec()),
            references: match pair {
                Some(pair) => references(pair),
                None => {
                    vec![text().ok_or_else(|| Error::data("cannot_decode", "the tokenizer failed on ids"))?]
                }
            },
            group: match (pair, rules.group_by) {
                (Some(pair), _) => group(pair, rules)?,
                (None, Some(name)) => {
                    return Err(unknown_group(
                        name,
                        [].into_iter(),
                        &format!("block {}", block.index),
                    ));
                }
                (None, None) => None,
            },
        })
    };
    let count = blocks.len().min(rules.limit as u64);
    (0..count).map(question).collect()
}

fn of_documents(documents: &Documents, rules: &Rules) -> Result<Vec<Question>> {
    let columns = documents.details().columns.clone();
    let prompt = Template::parse_exact(rules.prompt)?;
    let templates = rules
        .references
        .iter()
        .map(|source| Template::parse_exact(source));
    let templates: Vec<Template> = templates.collect::<Result<_>>()?;
    if templates.is_empty() {
        return Err(
            Error::data("no_references", "documents have no answers with them")
                .hint("name a template of the right answer in `references`, as in [\"{{ output }}\"]"),
        );
    }
    let group_column = match rules.group_by {
        None => None,
        Some(name) => match columns.iter().position(|column| column == name) {
            Some(place) => Some(place),
            None => return Err(unknown_group(name, columns.iter(), "the corpus")),
        },
    };
    let mut all = Vec::new();
    for read in documents.read(&columns)?.take(rules.limit) {
        let (index, document) = read?;
        let of_document = |error: Error| error.at(format!("document `{}`", document.id));
        let group = group_column.and_then(|place| document.cells[place].label());
        let values = values(&document, &columns);
        let rendered = templates.iter().map(|one| one.render(&values));
        let mut rendered = rendered.collect::<Result<Vec<_>>>().map_err(of_document)?;
        rendered.retain(|text| !text.trim().is_empty());
        if rendered.is_empty() {
            let error = Error::data("no_references", "every reference of a prompt is empty");
            return Err(of_document(error).hint("mend `references`, or leave the document out"));
        }
        all.push(Question {
            instance: index,
            asked: Asked::Text(prompt.render(&values).map_err(of_document)?),
            references: rendered,
            group,
        });
    }
    Ok(all)
}

/// A document as a template sees it.
fn values(document: &Document, columns: &[String]) -> Value {
    let value = |cell: &Cell| match cell {
        Cell::Null => Value::Null,
        Cell::Bool(truth) => (*truth).into(),
        Cell::Number(number) => (*number).into(),
        Cell::Text(text) => text.as_str().into(),
    };
    let mut values = Map::from_iter([
        ("id".to_owned(), Value::String(document.id.clone())),
        ("text".to_owned(), Value::String(document.text.clone())),
    ]);
    values.extend(columns.iter().cloned().zip(document.cells.iter().map(value)));
    Value::Object(values)
}

/// Questions by group: the places of each group's, by name.
pub(super) fn groups(questions: &[Question]) -> BTreeMap<&str, Vec<usize>> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, question) in questions.iter().enumerate() {
        if let Some(group) = &question.group {
            groups.entry(group).or_default().push(place);
        }
    }
    groups
}
