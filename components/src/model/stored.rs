//! Tensors as they lie in safetensors files, mapped into memory and found by name.

use crate::{Error, Result};
use burn::tensor::{DType, TensorData};
use memmap2::{Mmap, UncheckedAdvice};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The weights in one file.
pub const SINGLE: &str = "model.safetensors";
/// What lists the files of weights in several.
pub const INDEX: &str = "model.safetensors.index.json";
/// Longest index of shards: those of the largest models have some 10 MB.
pub const LONGEST_INDEX: u64 = 256 << 20;
/// Sizes of pages are powers of two up to this; released ranges are cut to whole ones.
const PAGE: usize = 1 << 16;

/// Types that weights are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Float {
    F64,
    F32,
    F16,
    Bf16,
}

/// A stored tensor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) dtype: Float,
    pub(crate) shape: &'a [usize],
    /// Row-major, little-endian.
    pub(crate) bytes: &'a [u8],
}

/// Where tensors are found by name.
pub(crate) trait Stored: Sync {
    /// The tensor of that name, if there is one. `bad_safetensors`: it is of a type that is no float.
    fn find(&self, name: &str) -> Result<Option<View<'_>>>;

    /// The file that the tensor lies in, for messages.
    fn file_of(&self, _name: &str) -> Option<&Path> {
        None
    }

    /// Says that the tensor will not be asked for again, so that its memory may go.
    fn release(&self, _name: &str) {}
}

impl Stored for BTreeMap<String, TensorData> {
    fn find(&self, name: &str) -> Result<Option<View<'_>>> {
        let Some(data) = self.get(name) else {
            return Ok(None);
        };
        let dtype = match data.dtype() {
            DType::F64 => Float::F64,
            DType::F32 => Float::F32,
            DType::F16 => Float::F16,
            DType::BF16 => Float::Bf16,
            other => return Err(no_float(name, &format!("{other:?}"))),
        };
        Ok(Some(View {
            dtype,
            shape: data.shape().as_slice(),
            bytes: data.as_bytes(),
        }))
    }
}

fn no_float(name: &str, found: &str) -> Error {
    let message = format!("tensor `{name}` is {found}; expected F64, F32, F16 or BF16");
    Error::data("bad_safetensors", message)
}

/// The weights in a folder: one file, or several with an index.
#[derive(Debug)]
pub(crate) struct Weights {
    files: Vec<(PathBuf, Mmap)>,
    tensors: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    file: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Of the file's bytes.
    range: Range<usize>,
}

impl Weights {
    /// Maps the weights of a model's folder. Only headers are read.
    ///
    /// # Errors
    /// `no_weights`, `pickled_weights`, `bad_safetensors`, `missing_shard`, `leaves_folder`, naming the file.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let mut weights = Self {
            files: Vec::new(),
            tensors: BTreeMap::new(),
        };
        for name in files(folder)? {
            weights.add(&within(folder, &name)?)?;
        }
        Ok(weights)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let bad = |what: String| Error::data("bad_safetensors", what).in_file(path);
        let file = File::open(path).map_err(Error::io("cannot open", path))?;
        // SAFETY: the file is only read. A file that another process shortens meanwhile ends this one; weights are copied
        // into tensors at once, so that the window is short.
        #[allow(unsafe_code)] // there is no safe way to map a file
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io("cannot map", path))?;
        if map.starts_with(b"PK\x03\x04") || map.starts_with(b"\x80") {
            return Err(pickled(path));
        }
        let (header, metadata) = SafeTensors::read_metadata(&map).map_err(|error| {
            bad(format!("not a whole safetensors file: {error}")).hint("fetch the file again")
        })?;
        let start = size_of::<u64>() + header;
        let number = self.files.len();
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else {
                continue;
            };
            let (from, to) = info.data_offsets;
            let entry = Entry {
                file: number,
                dtype: info.dtype,
                shape: info.shape.clone(),
                range: start + from..start + to,
            };
            if self.tensors.insert(name.clone(), entry).is_some() {
                return Err(bad(format!("tensor `{name}` is in two files")));
            }
        }
        self.files.push((path.to_path_buf(), map));
        Ok(())
    }

    fn path(&self, entry: &Entry) -> &Path {
        &self.files[entry.file].0
    }

    /// Names of all tensors, ascending.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The files, and the index where there is one.
    pub(crate) fn all_files(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = self.files.iter().map(|(path, _)| path.clone()).collect();
        if let Some(listing) = self.listing().filter(|file| !all.contains(file)) {
            all.push(listing);
        }
        all
    }

    /// The file that says which tensors there are: the only one, or the index of several.
    fn listing(&self) -> Option<PathBuf> {
        let (first, _) = self.files.first()?;
        let single = first.ends_with(SINGLE);
        Some(if single {
            first.clone()
        } else {
            first.with_file_name(INDEX)
        })
    }

    /// A mistake in the weights: where it names no file, that of a tensor, it names the one that lists all of them.
    pub(crate) fn blame(&self, error: Error) -> Error {
        match (&error, self.listing()) {
            (Error::Data(data), Some(listing)) if data.file.is_none() => error.in_file(listing),
            _ => error,
        }
    }
}

impl Stored for Weights {
    fn find(&self, name: &str) -> Result<Option<View<'_>>> {
        let Some(entry) = self.tensors.get(name) else {
            return Ok(None);
        };
        let dtype = match entry.dtype {
            Dtype::F64 => Float::F64,
            Dtype::F32 => Float::F32,
            Dtype::F16 => Float::F16,
            Dtype::BF16 => Float::Bf16,
            other => return Err(no_float(name, &format!("{other:?}")).in_file(self.path(entry))),
        };
        Ok(Some(View {
            dtype,
            shape: &entry.shape,
            bytes: &self.files[entry.file].1[entry.range.clone()],
        }))
    }

    fn file_of(&self, name: &str) -> Option<&Path> {
        self.tensors.get(name).map(|entry| self.path(entry))
    }

    fn release(&self, name: &str) {
        let Some(entry) = self.tensors.get(name) else {
            return;
        };
        let (start, end) = (
            entry.range.start.next_multiple_of(PAGE),
            entry.range.end / PAGE * PAGE,
        );
        if start < end {
            let map = &self.files[entry.file].1;
            // SAFETY: the map is of a file and read-only: pages that are asked for again are read again. A refusal only
            // costs memory.
            #[allow(unsafe_code)]
            let _ = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start) };
        }
    }
}

/// Names of the files that hold the weights of a folder.
fn files(folder: &Path) -> Result<Vec<String>> {
    if folder.join(SINGLE).exists() {
        return Ok(vec![SINGLE.to_owned()]);
    }
    let index = folder.join(INDEX);
    if !index.exists() {
        return Err(without_weights(folder));
    }
    let index = within(folder, INDEX)?;
    let bad = |what: String| Error::data("bad_safetensors", what).in_file(&index);
    let size = fs::metadata(&index)
        .map_err(Error::io("cannot read", &index))?
        .len();
    if size > LONGEST_INDEX {
        return Err(bad(format!(
            "it has {size} bytes; expected at most {LONGEST_INDEX}"
        )));
    }
    let text = fs::read(&index).map_err(Error::io("cannot read", &index))?;
    let names = shards(&text).map_err(|error| error.in_file(&index))?;
    match names.iter().find(|name| !folder.join(name).exists()) {
        Some(name) if plain(name) => {
            let message = format!("the index names `{name}`, which is not there");
            Err(Error::data("missing_shard", message)
                .in_file(&index)
                .hint("fetch it"))
        }
        _ => Ok(names),
    }
}

/// Names of the files that an index of shards says hold the weights, ascending. They may lead anywhere. `bad_safetensors`.
pub fn shards(index: &[u8]) -> Result<Vec<String>> {
    let bad = |what: String| Error::data("bad_safetensors", what);
    let json: Value = serde_json::from_slice(index).map_err(|error| bad(error.to_string()))?;
    let map = json["weight_map"].as_object();
    let map = map.ok_or_else(|| bad("`weight_map` is missing".to_owned()))?;
    let mut names: Vec<String> = Vec::new();
    for file in map.values() {
        let name = file.as_str();
        let name = name.ok_or_else(|| bad(format!("{file} is no file's name")))?;
        names.push(name.to_owned());
    }
    names.sort();
    names.dedup();
    Ok(names)
}

fn without_weights(folder: &Path) -> Error {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    found.sort();
    let ends = ["bin", "pt", "pth", "ckpt"];
    let weights = found.into_iter().find(|path| {
        path.extension()
            .is_some_and(|end| ends.iter().any(|known| end == *known))
    });
    match weights {
        Some(path) => pickled(&path),
        None => Error::data("no_weights", format!("there is neither {SINGLE} nor {INDEX}"))
            .in_file(folder)
            .hint("name a folder as transformers' `save_pretrained` leaves it"),
    }
}

/// `pickled_weights`: loading such a file can run any program in it.
fn pickled(path: &Path) -> Error {
    Error::data(
        "pickled_weights",
        "weights in Python's pickle format can run programs and are not read",
    )
    .in_file(path)
    .hint(
        "convert them once, where you trust them: python -c \"import sys; from transformers import \
             AutoModelForCausalLM as M; M.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[1])\" FOLDER",
    )
}

fn plain(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\\', '\0']) && name != "." && name != ".."
}

/// The file `name` of a model's folder. `leaves_folder`: the name, or a link, leads elsewhere. Links into the `blobs` of a
/// hub's cache (`snapshots/REVISION/file -> ../../blobs/…`) are followed.
pub(crate) fn within(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    let leaves = || {
        Error::data(
            "leaves_folder",
            format!("`{name}` leads out of the model's folder"),
        )
        .in_file(folder)
        .hint("put the file itself into the folder")
    };
    if !plain(name) {
        return Err(leaves());
    }
    let real = fs::canonicalize(&path).map_err(Error::io("cannot read", &path))?;
    let home = fs::canonicalize(folder).map_err(Error::io("cannot read", folder))?;
    let cache = home.parent().filter(|parent| parent.ends_with("snapshots"));
    let blobs = cache
        .and_then(Path::parent)
        .map(|repository| repository.join("blobs"));
    let allowed = real.parent() == Some(&home) || blobs.is_some_and(|blobs| real.parent() == Some(&blobs));
    if allowed { Ok(path) } else { Err(leaves()) }
}
