//! Records as questions: prompts with examples before them, answers, and which is right.

use super::records::Record;
use super::task::{Choices, Kind, References, Task};
use crate::random::Stream;
use crate::template::Template;
use crate::{Error, Result};
use serde_json::Value;

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The number of its record, from 0.
    pub number: u64,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked of the model.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Which continuation is the most probable: prompts and answers, of equal number.
    Choose {
        /// What stands before each answer.
        contexts: Vec<String>,
        /// The answers, with the delimiter before them.
        continuations: Vec<String>,
        /// Bytes of each answer without the delimiter.
        bytes: Vec<usize>,
        /// The right one.
        gold: usize,
    },
    /// How probable this continuation is.
    Continue {
        /// What stands before it.
        context: String,
        /// It, with the delimiter before it.
        continuation: String,
    },
    /// What the model writes.
    Write {
        /// What it goes on with.
        prompt: String,
        /// Right answers.
        references: Vec<String>,
    },
}

impl Task {
    /// The first `limit` records as questions, each after `shots` examples drawn from `stream` at its number.
    ///
    /// # Errors
    /// `bad_record`: a field is missing or of the wrong type, no choices, the right one is not among them, a template
    /// fails on it. `too_few_examples`.
    pub fn items(&self, limit: Option<usize>, shots: usize, stream: &Stream) -> Result<Vec<Item>> {
        let count = limit.unwrap_or(usize::MAX).min(self.records.len());
        (0..count)
            .map(|number| {
                let examples = self.examples(number, shots, &mut stream.at(number as u64))?;
                let record = &self.records[number];
                let ask = self
                    .ask(record, &examples)
                    .map_err(|error| self.in_record(record, error))?;
                Ok(Item {
                    number: number as u64,
                    ask,
                })
            })
            .collect()
    }

    /// What stands before the question of record `number`: the preamble and answered examples, none of them the record.
    fn examples(&self, number: usize, shots: usize, stream: &mut Stream) -> Result<String> {
        let mut text = self.file.preamble.clone();
        if shots == 0 {
            return Ok(text);
        }
        let record = &self.records[number];
        let pool = self.pool.as_ref().unwrap_or(&self.records);
        let separator = self.file.shots.as_ref().map_or("\n\n", |shots| &shots.separator);
        let mut order: Vec<usize> = (0..pool.len()).collect();
        let mut found = 0;
        // Fisher and Yates from the front, for as long as examples are wanted.
        for place in 0..pool.len() {
            if found == shots {
                break;
            }
            let other = place + stream.below((pool.len() - place) as u64) as usize;
            order.swap(place, other);
            let example = &pool[order[place]];
            if example.fields == record.fields {
                continue;
            }
            let answered = self
                .answered(example)
                .map_err(|error| self.in_record(example, error))?;
            text.push_str(&answered);
            text.push_str(separator);
            found += 1;
        }
        if found == shots {
            return Ok(text);
        }
        let message = format!("{shots} examples are wanted before each question; there are {found}");
        Err(Error::data("too_few_examples", message)
            .in_file(&self.path)
            .hint("lower the number of shots, or name another source in `shots`"))
    }

    /// A record as a question with its right answer.
    fn answered(&self, record: &Record) -> Result<String> {
        let (question, answer) = match self.ask(record, "")? {
            Ask::Choose {
                mut contexts,
                mut continuations,
                gold,
                ..
            } => (contexts.swap_remove(gold), continuations.swap_remove(gold)),
            Ask::Continue {
                context,
                continuation,
            } => (context, continuation),
            Ask::Write { prompt, references } => {
                let answer = references.into_iter().next().unwrap_or_default();
                (prompt, format!("{}{answer}", self.file.delimiter))
            }
        };
        Ok(question + &answer)
    }

    fn ask(&self, record: &Record, before: &str) -> Result<Ask> {
        let values = &record.fields;
        let delimiter = &self.file.delimiter;
        let question = || Ok::<_, Error>(format!("{before}{}", self.text.render(values)?));
        match &self.kind {
            Kind::Choices { choices, gold } => {
                let choices = match choices {
                    Choices::Field(field) => texts(values, field)?,
                    Choices::Templates(all) => {
                        all.iter().map(|one| one.render(values)).collect::<Result<_>>()?
                    }
                };
                let gold = right(gold, values, &choices)?;
                Ok(choose(
                    vec![question()?; choices.len()],
                    &choices,
                    delimiter,
                    gold,
                ))
            }
            Kind::Labels { labels, gold } => {
                let gold = right(gold, values, labels)?;
                Ok(choose(vec![question()?; labels.len()], labels, delimiter, gold))
            }
            Kind::Contexts { field, target, gold } => {
                let options = texts(values, field)?;
                let gold = right(gold, values, &options)?;
                let targets = vec![target.render(values)?; options.len()];
                let contexts = options.into_iter().map(|option| format!("{before}{option}"));
                Ok(choose(contexts.collect(), &targets, delimiter, gold))
            }
            Kind::Text { references } => Ok(Ask::Write {
                prompt: question()?,
                references: match references {
                    References::Field(field) => texts(values, field)?,
                    References::Template(target) => vec![target.render(values)?],
                },
            }),
            Kind::LastWord { target } => Ok(Ask::Continue {
                context: question()?,
                continuation: format!("{delimiter}{}", target.render(values)?),
            }),
        }
    }

    /// A mistake of one record: `bad_record`, with its line.
    fn in_record(&self, record: &Record, error: Error) -> Error {
        let Error::Data(mut error) = error else {
            return error;
        };
        if error.code == "bad_template" {
            error.code = "bad_record";
            let names = record
                .fields
                .as_object()
                .into_iter()
                .flat_map(|fields| fields.keys());
            let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
            error.hint = Some(format!(
                "mend the record or the template; the record has {}",
                names.join(", ")
            ));
        }
        Error::Data(error)
            .in_file(&self.data)
            .at(format!("record in line {}", record.line))
    }
}

fn choose(contexts: Vec<String>, answers: &[String], delimiter: &str, gold: usize) -> Ask {
    Ask::Choose {
        contexts,
        continuations: answers
            .iter()
            .map(|answer| format!("{delimiter}{answer}"))
            .collect(),
        bytes: answers.iter().map(String::len).collect(),
        gold,
    }
}

/// The list of texts in a field.
fn texts(values: &Value, field: &str) -> Result<Vec<String>> {
    let bad = |what: &str| {
        Err(Error::data("bad_record", format!("field `{field}` {what}"))
            .hint("mend the record, or name another field in the task file"))
    };
    let list = match values.get(field) {
        Some(Value::Array(list)) => list,
        Some(_) => return bad("is no list"),
        None => return bad("is missing"),
    };
    if list.is_empty() {
        return bad("is an empty list");
    }
    let texts: Option<Vec<String>> = list.iter().map(|one| one.as_str().map(str::to_owned)).collect();
    texts.map_or_else(|| bad("holds something that is no text"), Ok)
}

/// The number of the right one: what the template gives, as a number or as one of the texts.
fn right(gold: &Template, values: &Value, choices: &[String]) -> Result<usize> {
    let told = gold.render(values)?;
    let told = told.trim();
    let found = match told.parse::<usize>() {
        Ok(number) => Some(number).filter(|&number| number < choices.len()),
        Err(_) => choices.iter().position(|choice| choice == told),
    };
    found.ok_or_else(|| {
        let message = format!(
            "`gold` is `{told}`, which is none of the {} choices",
            choices.len()
        );
        Error::data("bad_record", message).hint("it is a number from 0, or the text of a choice")
    })
}
