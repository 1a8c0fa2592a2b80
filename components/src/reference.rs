//! Typed fields of parameter structs that point outside the struct: at other steps' artifacts, and at files.
//!
//! The schema of such a field carries `x-artifact` (the kinds accepted), `x-many` or `x-file`; that is how the runner
//! finds references at any depth without knowing the component.

use crate::Kind;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::marker::PhantomData;

/// Which kinds of artifact a reference accepts.
pub trait Accepts {
    /// The kinds, preferred first.
    const KINDS: &'static [Kind];
}

/// Declares a marker type for a set of kinds.
macro_rules! accepts {
    ($($(#[$doc:meta])* $name:ident => [$($kind:ident),+];)+) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {}
        impl Accepts for $name {
            const KINDS: &'static [Kind] = &[$(Kind::$kind),+];
        }
    )+ };
}

accepts! {
    /// Documents, or a selection of documents.
    Documents => [Corpus, Selection];
    /// What models can be asked with: instruction pairs, tokens whose blocks begin with a prompt, documents, or a selection.
    Prompts => [Pairs, Tokens, Corpus, Selection];
    /// Instruction pairs, or tokens whose blocks begin with a prompt, or a selection of those.
    Pairwise => [Pairs, Tokens, Selection];
    /// Documents or instruction pairs, or a selection of documents.
    Texts => [Corpus, Pairs, Selection];
    /// Instruction pairs.
    Pairs => [Pairs];
    /// A tokenizer, or a model, of which the tokenizer is taken.
    Tokenizer => [Tokenizer, Model];
    /// Packed tokens, or a selection of their blocks.
    Blocks => [Tokens, Selection];
    /// Packed tokens, documents, or a selection of either.
    Scorable => [Tokens, Corpus, Selection];
    /// Scores.
    Scores => [Scores];
    /// A selection.
    Selection => [Selection];
    /// A model.
    Model => [Model];
    /// A model, or what one said of every token of given text.
    Teaching => [Model, TeacherCache];
    /// A teacher's cached distributions.
    TeacherCache => [TeacherCache];
    /// Weights of examples at every step of a training.
    Policy => [Policy];
}

/// A reference to one artifact, as in `"@tokens"`. Before a step runs the runner has made it name exactly one.
#[derive(Debug, PartialEq, Eq)]
pub struct Ref<A>(String, PhantomData<A>);

/// References to several artifacts: `"@student"` (every variant) or a list of references.
#[derive(Debug, PartialEq, Eq)]
pub struct Refs<A>(Vec<String>, PhantomData<A>);

impl<A> Ref<A> {
    /// The same where other kinds are accepted too.
    pub(crate) fn widened<B>(&self) -> Ref<B> {
        Ref(self.0.clone(), PhantomData)
    }

    /// The reference as written, with its `@`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<A> Refs<A> {
    /// The references as written, each with its `@`.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl<A> Clone for Ref<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<A> Clone for Refs<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<A> Serialize for Ref<A> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<A> Serialize for Refs<A> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, A> Deserialize<'de> for Ref<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(String::deserialize(deserializer)?, PhantomData))
    }
}

impl<'de, A> Deserialize<'de> for Refs<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> serde::de::Visitor<'de> for OneOrMany {
            type Value = Vec<String>;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a reference or a list of references")
            }
            fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
                Ok(vec![value.to_owned()])
            }
            fn visit_seq<S: serde::de::SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
                let mut all = Vec::new();
                while let Some(one) = seq.next_element()? {
                    all.push(one);
                }
                Ok(all)
            }
        }
        Ok(Self(deserializer.deserialize_any(OneOrMany)?, PhantomData))
    }
}

fn kinds<A: Accepts>() -> Vec<&'static str> {
    A::KINDS.iter().map(|kind| kind.name()).collect()
}

impl<A: Accepts> JsonSchema for Ref<A> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("reference_{}", kinds::<A>().join("_")).into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^@", "x-artifact": kinds::<A>() })
    }
}

impl<A: Accepts> JsonSchema for Refs<A> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("references_{}", kinds::<A>().join("_")).into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "array"],
            "pattern": "^@",
            "items": { "type": "string", "pattern": "^@" },
            "minItems": 1,
            "x-artifact": kinds::<A>(),
            "x-many": true,
        })
    }
}

/// A file the user names, relative to the experiment file that names it. Its contents, not its name, enter the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FilePath(pub String);

impl JsonSchema for FilePath {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "file".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "x-file": true })
    }
}

/// A task file the user names, relative to the experiment file that names it. Its contents and those of the data files it
/// names enter the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskPath(pub String);

impl JsonSchema for TaskPath {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "task_file".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "x-task-file": true })
    }
}

/// A folder of a model the user names, relative to the experiment file that names it. The contents of its files (those
/// with the endings of [`FolderPath::ENDINGS`]), not its name, enter the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FolderPath(pub String);

impl FolderPath {
    /// Endings of the files that make a model's folder.
    pub const ENDINGS: &[&str] = &["json", "jinja", "safetensors"];
}

/// A folder of token shards the user names, relative to the experiment file that names it. The contents of its files with
/// the endings of [`ShardsPath::ENDINGS`], not its name, enter the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShardsPath(pub String);

impl ShardsPath {
    /// Endings of the files that make a shard.
    pub const ENDINGS: &[&str] = &["bin", "idx"];
}

impl JsonSchema for ShardsPath {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "shards_folder".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "x-folder": Self::ENDINGS })
    }
}

impl JsonSchema for FolderPath {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "folder".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "x-folder": Self::ENDINGS })
    }
}
