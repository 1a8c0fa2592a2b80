//! The first stage: what was written, layer over layer.
//!
//! Later wins: `extends`, the file, the profile, the environment, `--set`. figment merges (tables merge, arrays replace)
//! and remembers for every value the layer it came from; `[[claims]]` are keyed by name beforehand so that they merge too.

use super::confine::{absolute, find_root};
use super::diagnostics::{Diagnostic, Diagnostics, Source};
use super::document::{Content, Field, Node, parse};
use super::item::{Item, Origin, lift};
use super::reader::Reader;
use super::suggest;
use figment::value::{Dict, Empty, Map, Num, Tag, Value as FigValue};
use figment::{Figment, Metadata, Profile, Provider};
use serde_json::Value;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the command line adds to an experiment file.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--profile`.
    pub profile: Option<String>,
    /// `--set path=value`, in order.
    pub sets: Vec<String>,
    /// `--allow DIR`.
    pub allow: Vec<PathBuf>,
    /// Environment variables; those that begin with `LYCEUM__` set values.
    pub environment: Vec<(String, String)>,
    /// Whether files may be missing (`plan --assume`).
    pub assume: bool,
}

impl Options {
    /// Options with the environment of this process.
    pub fn from_environment() -> Self {
        let text = |os: std::ffi::OsString| os.into_string().ok();
        let environment = std::env::vars_os().filter_map(|(key, value)| Some((text(key)?, text(value)?)));
        Self {
            environment: environment.collect(),
            ..Self::default()
        }
    }

    /// Folders that files may lie in: the root, `--allow` and `LYCEUM_DATA`.
    pub(crate) fn allowed(&self, file: &Path) -> Vec<PathBuf> {
        let more = self.allow.iter().map(|folder| absolute(folder));
        std::iter::once(find_root(file))
            .chain(more)
            .chain(self.data().map(absolute))
            .collect()
    }

    /// The folder that `LYCEUM_DATA` names.
    pub(crate) fn data(&self) -> Option<&Path> {
        let named = self.environment.iter().find(|(key, _)| key == "LYCEUM_DATA");
        named.map(|(_, folder)| Path::new(folder))
    }

    /// Names of the environment variables that set values.
    fn settings(&self) -> impl Iterator<Item = (String, &str)> {
        let mut all: Vec<_> = self
            .environment
            .iter()
            .filter_map(|(key, value)| {
                Some((
                    key.strip_prefix("LYCEUM__")?.to_lowercase().replace("__", "."),
                    value.as_str(),
                ))
            })
            .collect();
        all.sort();
        all.into_iter()
    }
}

/// One layer: a tree, the text it was read from, and the folder its paths are relative to.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) source: Arc<Source>,
    pub(crate) folder: PathBuf,
    pub(crate) node: Node,
}

/// All layers, weakest first.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    pub(crate) list: Vec<Layer>,
    /// Every profile of every file, by name, weakest first.
    pub(crate) profiles: Vec<(String, Layer)>,
    /// Where the layers of the profile that was asked for stand in the list.
    profile_at: Range<usize>,
    figment: Figment,
}

impl Layers {
    /// Index of the layer a merged value came from.
    pub(crate) fn of_tag(&self, tag: Tag) -> Option<usize> {
        self.figment.get_metadata(tag)?.name.parse().ok()
    }

    /// A mistake at a place of a layer.
    pub(crate) fn mistake(&self, at: &Origin, code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(&self.list[at.layer].source, at.span.clone(), code, message)
    }

    /// The layers as they would be with another profile, merged.
    pub(crate) fn with_profile(&self, name: &str) -> (Self, Item) {
        let own = self.profiles.iter().filter(|(profile, _)| profile == name);
        let mut list = self.list[..self.profile_at.start].to_vec();
        list.extend(own.map(|(_, layer)| layer.clone()));
        list.extend_from_slice(&self.list[self.profile_at.end..]);
        let mut layers = Self {
            list,
            ..Self::default()
        };
        let merged = layers.merge();
        (layers, merged)
    }

    /// Merges the layers.
    fn merge(&mut self) -> Item {
        let mut figment = Figment::new();
        for (index, layer) in self.list.iter().enumerate() {
            figment = figment.merge(Provided {
                index,
                node: &layer.node,
            });
        }
        self.figment = figment;
        let places: Vec<_> = self
            .list
            .iter()
            .enumerate()
            .map(|(i, layer)| (i, &layer.node))
            .collect();
        let merged = self
            .figment
            .find_value(ROOT)
            .unwrap_or_else(|_| FigValue::from(Dict::new()));
        lift(&merged, &places, self)
    }
}

/// The key that figment keeps a whole layer under: its own paths would split keys at dots.
const ROOT: &str = "experiment";

/// A layer as figment wants it.
struct Provided<'a> {
    index: usize,
    node: &'a Node,
}

impl Provider for Provided<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.index.to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        match value(self.node) {
            dict @ FigValue::Dict(..) => Ok(Profile::Default.collect(Dict::from([(ROOT.to_owned(), dict)]))),
            _ => Ok(Map::new()),
        }
    }
}

fn value(node: &Node) -> FigValue {
    match &node.content {
        Content::Table(fields) => FigValue::from(
            fields
                .iter()
                .map(|f| (f.key.clone(), value(&f.node)))
                .collect::<Dict>(),
        ),
        Content::Array(nodes) => FigValue::from(nodes.iter().map(value).collect::<Vec<_>>()),
        Content::Scalar(Value::String(text)) => FigValue::from(text.as_str()),
        Content::Scalar(Value::Bool(truth)) => FigValue::from(*truth),
        Content::Scalar(Value::Number(number)) => match number.as_i64() {
            Some(number) => FigValue::Num(Tag::Default, Num::I64(number)),
            None => FigValue::Num(Tag::Default, Num::F64(number.as_f64().unwrap_or(f64::NAN))),
        },
        Content::Scalar(_) => FigValue::Empty(Tag::Default, Empty::Unit),
    }
}

/// Reads every layer of an experiment and merges them. `text` is what the file holds, where it was read already.
pub(crate) fn read(
    file: &Path,
    text: Option<&str>,
    options: &Options,
    found: &mut Diagnostics,
) -> (Layers, Item) {
    let mut reader = Reader {
        allowed: options.allowed(file),
        stack: Vec::new(),
        layers: Layers::default(),
        found,
    };
    let text = match text {
        Some(text) => Some(text.to_owned()),
        None => reader.text(file, None),
    };
    if let Some(text) = text {
        reader.read(file, text);
    }
    let mut layers = reader.layers;
    add_profile(options, &mut layers, found);
    let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
    let settings = options.settings().map(|(path, value)| {
        let name = format!(
            "environment variable LYCEUM__{}",
            path.to_uppercase().replace('.', "__")
        );
        (name, path, value.to_owned())
    });
    let sets = options.sets.iter().map(|set| {
        let (path, value) = set.split_once('=').unwrap_or((set, ""));
        (
            format!("--set {set}"),
            path.trim().to_owned(),
            value.trim().to_owned(),
        )
    });
    for (name, path, text) in settings.chain(sets) {
        layers
            .list
            .push(single_value(name, &path, &text, folder.clone(), found));
    }
    let Layers { list, profiles, .. } = &mut layers;
    for layer in list.iter_mut().chain(profiles.iter_mut().map(|(_, layer)| layer)) {
        key_claims(layer, found);
    }
    let merged = layers.merge();
    (layers, merged)
}

/// A layer of one value. A value that is not TOML is a string, so that `--set steps.a.use=corpus.text` needs no quotes.
fn single_value(name: String, path: &str, text: &str, folder: PathBuf, found: &mut Diagnostics) -> Layer {
    let try_parse = |text: String| {
        let source = Arc::new(Source {
            name: name.clone(),
            text,
        });
        let mut errors = Diagnostics::default();
        let node = parse(&source, &mut errors);
        (source, node, errors)
    };
    let (mut source, mut node, mut errors) = try_parse(format!("{path} = {text}"));
    if !errors.list.is_empty() {
        (source, node, errors) = try_parse(format!("{path} = {}", toml::Value::String(text.to_owned())));
    }
    errors.list.into_iter().for_each(|error| found.push(error));
    Layer { source, folder, node }
}

fn add_profile(options: &Options, layers: &mut Layers, found: &mut Diagnostics) {
    let start = layers.list.len();
    layers.profile_at = start..start;
    let Some(wanted) = &options.profile else { return };
    let own = layers.profiles.iter().filter(|(name, _)| name == wanted);
    layers.list.extend(own.map(|(_, layer)| layer.clone()));
    layers.profile_at.end = layers.list.len();
    if layers.profile_at.is_empty() {
        let source = Arc::new(Source {
            name: "--profile".into(),
            text: format!("--profile {wanted}"),
        });
        let span = 10..10 + wanted.len();
        let mistake = Diagnostic::new(&source, span, "unknown_profile", format!("no profile `{wanted}`"));
        let names = layers.profiles.iter().map(|(name, _)| name.as_str());
        let hint = suggest::hint(wanted, names).unwrap_or("the experiment has no `[profiles]`".into());
        found.push(mistake.hint(Some(hint)));
    }
}

/// Turns `[[claims]]` into a table by name.
fn key_claims(layer: &mut Layer, found: &mut Diagnostics) {
    let Content::Table(fields) = &mut layer.node.content else {
        return;
    };
    let Some(field) = fields.iter_mut().find(|field| field.key == "claims") else {
        return;
    };
    let Content::Array(claims) = &mut field.node.content else {
        let mistake = Diagnostic::new(
            &layer.source,
            field.key_span.clone(),
            "wrong_type",
            "`claims` wants a list of tables",
        );
        found.push(mistake.label("expected `[[claims]]`"));
        return;
    };
    let mut keyed: Vec<Field> = Vec::new();
    for (i, node) in std::mem::take(claims).into_iter().enumerate() {
        let name = node.get("name").and_then(|f| f.node.as_str()).map(str::to_owned);
        let key = name.unwrap_or_else(|| format!("#{i}"));
        if keyed.iter().any(|field| field.key == key) {
            let message = format!("two claims are called `{key}`");
            found.push(Diagnostic::new(
                &layer.source,
                node.span.clone(),
                "duplicate_claim",
                message,
            ));
            continue;
        }
        keyed.push(Field {
            key,
            key_span: node.span.clone(),
            node,
        });
    }
    field.node.content = Content::Table(keyed);
}
