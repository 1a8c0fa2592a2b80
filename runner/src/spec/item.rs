//! The merged layers as a tree in which every value remembers the layer and the place it came from.

use super::document::{Content, Field, Node};
use super::layers::Layers;
use figment::value as fig;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ops::Range;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Index of the layer.
    pub(crate) layer: usize,
    /// Place in the layer's text.
    pub(crate) span: Range<usize>,
}

/// A merged value.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) origin: Origin,
    pub(crate) value: ItemValue,
}

/// What a merged value is.
#[derive(Debug, Clone)]
pub(crate) enum ItemValue {
    Table(Vec<Entry>),
    Array(Vec<Item>),
    Scalar(Value),
}

/// A key of a merged table; entries stand in the order in which the layers first name them.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_origin: Origin,
    pub(crate) item: Item,
}

impl Item {
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            ItemValue::Table(entries) => entries,
            _ => &[],
        }
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Item> {
        self.entry(key).map(|entry| &entry.item)
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.value {
            ItemValue::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The value under a JSON pointer.
    pub(crate) fn at(&self, pointer: &str) -> Option<&Item> {
        pointer
            .split('/')
            .skip(1)
            .try_fold(self, |item, part| match &item.value {
                ItemValue::Table(_) => item.get(&part.replace("~1", "/").replace("~0", "~")),
                ItemValue::Array(items) => items.get(part.parse::<usize>().ok()?),
                ItemValue::Scalar(_) => None,
            })
    }

    /// The key that a JSON pointer ends in.
    pub(crate) fn key_at(&self, pointer: &str) -> Option<&Entry> {
        let (parent, key) = pointer.rsplit_once('/')?;
        self.at(parent)?.entry(&key.replace("~1", "/").replace("~0", "~"))
    }

    pub(crate) fn to_json(&self) -> Value {
        match &self.value {
            ItemValue::Scalar(value) => value.clone(),
            ItemValue::Array(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            ItemValue::Table(entries) => {
                let pairs = entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.item.to_json()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// Sets the value under a dotted path, making tables on the way.
    pub(crate) fn set(&mut self, path: &str, key_origin: &Origin, item: Item) {
        let (first, rest) = path
            .split_once('.')
            .map_or((path, None), |(first, rest)| (first, Some(rest)));
        if !matches!(self.value, ItemValue::Table(_)) {
            self.value = ItemValue::Table(Vec::new());
        }
        let ItemValue::Table(entries) = &mut self.value else {
            return;
        };
        let at = entries
            .iter()
            .position(|entry| entry.key == first)
            .unwrap_or_else(|| {
                let empty = Item {
                    origin: key_origin.clone(),
                    value: ItemValue::Table(Vec::new()),
                };
                entries.push(Entry {
                    key: first.to_owned(),
                    key_origin: key_origin.clone(),
                    item: empty,
                });
                entries.len() - 1
            });
        match rest {
            Some(rest) => entries[at].item.set(rest, key_origin, item),
            None => entries[at].item = item,
        }
    }
}

/// Joins figment's merged value (what, and from which layer) with the layers' trees (where, and in which order).
pub(crate) fn lift(value: &fig::Value, places: &[(usize, &Node)], layers: &Layers) -> Item {
    let named = layers.of_tag(value.tag());
    let (layer, node) = places
        .iter()
        .rev()
        .find(|(layer, _)| Some(*layer) == named)
        .or(places.last())
        .map_or_else(
            || (named.unwrap_or(0), None),
            |(layer, node)| (*layer, Some(*node)),
        );
    let origin = Origin {
        layer,
        span: node.map_or(0..0, |node| node.span.clone()),
    };
    let value = match value {
        fig::Value::Dict(_, dict) => {
            let mut order: Vec<&str> = Vec::new();
            let mut written: BTreeMap<&str, Vec<(usize, &Field)>> = BTreeMap::new();
            for (layer, node) in places {
                if let Content::Table(fields) = &node.content {
                    for field in fields {
                        let all = written.entry(&field.key).or_default();
                        if all.is_empty() {
                            order.push(&field.key);
                        }
                        all.push((*layer, field));
                    }
                }
            }
            let entries = order.iter().filter_map(|key| {
                let value = dict.get(*key)?;
                let fields = &written[key];
                let inner: Vec<_> = fields
                    .iter()
                    .map(|(layer, field)| (*layer, &field.node))
                    .collect();
                // A mistake about a key is shown where the key was last written.
                let (layer, last) = fields.last()?;
                Some(Entry {
                    key: (*key).to_owned(),
                    key_origin: Origin {
                        layer: *layer,
                        span: last.key_span.clone(),
                    },
                    item: lift(value, &inner, layers),
                })
            });
            ItemValue::Table(entries.collect())
        }
        fig::Value::Array(_, values) => {
            let nodes = match node.map(|node| &node.content) {
                Some(Content::Array(nodes)) => nodes.as_slice(),
                _ => &[],
            };
            let at = |i: usize| {
                nodes
                    .get(i)
                    .map(|node| (layer, node))
                    .into_iter()
                    .collect::<Vec<_>>()
            };
            ItemValue::Array(
                values
                    .iter()
                    .enumerate()
                    .map(|(i, value)| lift(value, &at(i), layers))
                    .collect(),
            )
        }
        scalar => ItemValue::Scalar(serde_json::to_value(scalar).unwrap_or(Value::Null)),
    };
    Item { origin, value }
}
