//! Golden fixtures whose every field must be read: a field nobody checks is a test that does not exist.

use serde::de::DeserializeOwned;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One fixture file of `tests/golden/`, with a record of what was read.
pub struct Golden {
    name: String,
    root: Value,
    read: RefCell<BTreeSet<String>>,
}

/// A place in a fixture.
#[derive(Clone)]
pub struct Node<'a> {
    golden: &'a Golden,
    pointer: String,
    value: &'a Value,
}

impl Golden {
    /// Folder of the fixtures.
    pub fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
    }

    /// Opens `tests/golden/<name>.json`.
    pub fn open(name: &str) -> Self {
        let file = Self::folder().join(format!("{name}.json"));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let root = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        Self {
            name: name.to_owned(),
            root,
            read: RefCell::default(),
        }
    }

    /// The whole document.
    pub fn root(&self) -> Node<'_> {
        Node {
            golden: self,
            pointer: String::new(),
            value: &self.root,
        }
    }

    /// Fails, naming them, if any field was not read.
    pub fn finish(self) {
        let mut unread = Vec::new();
        self.collect_unread(&self.root, String::new(), &mut unread);
        assert!(
            unread.is_empty(),
            "{}: fields never read: {}",
            self.name,
            unread.join(", ")
        );
    }

    fn collect_unread(&self, value: &Value, pointer: String, unread: &mut Vec<String>) {
        if self.read.borrow().contains(&pointer) {
            return;
        }
        match value {
            Value::Object(map) => {
                map.iter()
                    .for_each(|(key, v)| self.collect_unread(v, format!("{pointer}/{key}"), unread));
            }
            Value::Array(list) => list
                .iter()
                .enumerate()
                .for_each(|(i, v)| self.collect_unread(v, format!("{pointer}/{i}"), unread)),
            _ => unread.push(pointer),
        }
    }
}

impl Node<'_> {
    /// The field called `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Self {
        let value = self
            .value
            .get(key)
            .unwrap_or_else(|| panic!("{}: no {}/{key}", self.golden.name, self.pointer));
        Self {
            golden: self.golden,
            pointer: format!("{}/{key}", self.pointer),
            value,
        }
    }

    /// The field called `key`, if it is there.
    pub fn find(&self, key: &str) -> Option<Self> {
        self.value.get(key).map(|_| self.get(key))
    }

    /// The elements of a list.
    pub fn items(&self) -> Vec<Self> {
        let list = self
            .value
            .as_array()
            .unwrap_or_else(|| panic!("{}{} is no list", self.golden.name, self.pointer));
        let node = |(i, value)| Self {
            golden: self.golden,
            pointer: format!("{}/{i}", self.pointer),
            value,
        };
        list.iter().enumerate().map(node).collect()
    }

    /// The value, marked as read with all that is in it.
    pub fn read<T: DeserializeOwned>(&self) -> T {
        self.golden.read.borrow_mut().insert(self.pointer.clone());
        T::deserialize(self.value).unwrap_or_else(|e| panic!("{}{}: {e}", self.golden.name, self.pointer))
    }

    /// The fields of an object, in the file's order.
    pub fn entries(&self) -> Vec<(String, Self)> {
        let map = self
            .value
            .as_object()
            .unwrap_or_else(|| panic!("{}{} is no object", self.golden.name, self.pointer));
        map.keys().map(|key| (key.clone(), self.get(key))).collect()
    }

    /// Nested lists of numbers as a tensor: its shape and its elements, row-major.
    pub fn tensor(&self) -> (Vec<usize>, Vec<f64>) {
        let value = self.read::<Value>();
        let mut shape = Vec::new();
        let mut first = &value;
        while let Some(list) = first.as_array() {
            shape.push(list.len());
            first = &list[0];
        }
        let mut elements = Vec::new();
        flatten(&value, &mut elements);
        let size: usize = shape.iter().product();
        assert_eq!(
            elements.len(),
            size,
            "{}{} is ragged",
            self.golden.name,
            self.pointer
        );
        (shape, elements)
    }

    /// Marks prose and provenance as read: what describes the fixture and cannot be checked.
    pub fn prose(&self, keys: &[&str]) {
        for key in keys {
            self.get(key).read::<Value>();
        }
    }
}

fn flatten(value: &Value, elements: &mut Vec<f64>) {
    match value {
        Value::Array(list) => list.iter().for_each(|item| flatten(item, elements)),
        number => elements.push(number.as_f64().expect("a tensor holds numbers")),
    }
}

/// Fails, naming `what`, unless all of `found` is within `tolerance` of `expected`, relative to the largest element of
/// `expected`.
pub fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: number of elements");
    let largest = expected.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    for (i, (x, y)) in found.iter().zip(expected).enumerate() {
        let difference = (x - y).abs();
        assert!(
            difference <= tolerance * largest,
            "{what}[{i}]: {x}, expected {y}; off by {difference:e}"
        );
    }
}
