//! What a repository holds, and what of it is fetched.

use super::Revision;
use lyceum_components::model::{LONGEST_WEIGHTS_INDEX, READ_BESIDES_WEIGHTS, WEIGHTS, WEIGHTS_INDEX, shards};
use lyceum_components::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The largest models have some 200.
const MOST_SHARDS: usize = 2000;

/// The files of a repository, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing(BTreeMap<String, Entry>);

/// A file that is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Its name, which is no path.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// SHA-256 of its content in hex, where the hub says it: of all but small files.
    pub sha256: Option<String>,
}

/// How the weights lie in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weights {
    /// In one file.
    Single(Remote),
    /// In several, which this index names.
    Indexed(Remote),
}

/// The parts of the hub's answer that are read.
#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Entry {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<Lfs>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Lfs {
    sha256: Option<String>,
}

impl Listing {
    /// Reads the hub's answer about a revision. `bad_listing`; `wrong_revision`: it is about another.
    pub fn read(json: &[u8], revision: &Revision) -> Result<Self> {
        let answer: Answer = serde_json::from_slice(json).map_err(|error| {
            let message = format!("the hub's list of files cannot be read: {error}");
            Error::data("bad_listing", message).hint("see that `--endpoint` is the address of a hub")
        })?;
        if answer.sha != revision.to_string() {
            return Err(wrong_revision(&answer.sha, revision));
        }
        let entries = answer.siblings.into_iter();
        Ok(Self(
            entries.map(|entry| (entry.rfilename.clone(), entry)).collect(),
        ))
    }

    /// What stands beside the weights: config.json first. `no_config`, `too_large`, `bad_listing`.
    pub fn besides(&self) -> Result<Vec<Remote>> {
        let (config, _) = READ_BESIDES_WEIGHTS[0];
        if !self.0.contains_key(config) {
            let message = format!("there is no {config} in the repository");
            return Err(
                Error::data("no_config", message).hint("name a repository of a model for transformers")
            );
        }
        let there = |(name, most): &(&str, u64)| {
            let remote = self.remote(name).transpose()?;
            Some(remote.and_then(|remote| at_most(remote, *most)))
        };
        READ_BESIDES_WEIGHTS.iter().filter_map(there).collect()
    }

    /// The weights. `pickled_weights`, `no_weights`, `too_large`, `bad_listing`.
    pub fn weights(&self) -> Result<Weights> {
        if let Some(single) = self.remote(WEIGHTS)? {
            return Ok(Weights::Single(single));
        }
        if let Some(index) = self.remote(WEIGHTS_INDEX)? {
            return Ok(Weights::Indexed(at_most(index, LONGEST_WEIGHTS_INDEX)?));
        }
        let pickled = |name: &&String| {
            let ends = [".bin", ".pt", ".pth", ".ckpt"];
            ends.iter().any(|end| name.ends_with(end))
        };
        Err(match self.0.keys().find(pickled) {
            Some(name) => Error::data(
                "pickled_weights",
                format!("the weights are in Python's pickle format only (`{name}`), which can run programs"),
            )
            .hint(
                "look for a revision or a repository with safetensors; many have one under the pull requests",
            ),
            None => Error::data(
                "no_weights",
                format!("there is neither {WEIGHTS} nor {WEIGHTS_INDEX} in the repository"),
            )
            .hint("name a repository of a model for transformers"),
        })
    }

    /// The files of weights that an index names. `leaves_folder`, `missing_shard`, `too_many_files`, `bad_safetensors`.
    pub fn shards(&self, index: &[u8]) -> Result<Vec<Remote>> {
        let names = shards(index).map_err(|error| error.in_file(WEIGHTS_INDEX))?;
        if names.len() > MOST_SHARDS {
            let message = format!(
                "the index names {} files; expected at most {MOST_SHARDS}",
                names.len()
            );
            return Err(Error::data("too_many_files", message).in_file(WEIGHTS_INDEX));
        }
        let shard = |name: String| {
            if !is_shard(&name) {
                let message =
                    format!("`{name}`, which the index names, is no file of weights in the model's folder");
                return Err(Error::data("leaves_folder", message).in_file(WEIGHTS_INDEX));
            }
            self.remote(&name)?.ok_or_else(|| {
                let message = format!("the index names `{name}`, which is not in the repository");
                Error::data("missing_shard", message).in_file(WEIGHTS_INDEX)
            })
        };
        names.into_iter().map(shard).collect()
    }

    /// A file as it is fetched, if it is there. `bad_listing`: nothing says how long it is, or its hash is none.
    fn remote(&self, name: &str) -> Result<Option<Remote>> {
        let Some(entry) = self.0.get(name) else {
            return Ok(None);
        };
        let bad = |what: &str| {
            Error::data(
                "bad_listing",
                format!("the hub's list of files {what} of `{name}`"),
            )
        };
        let sha256 = entry.lfs.as_ref().and_then(|lfs| lfs.sha256.clone());
        if sha256.as_ref().is_some_and(|hash| !is_sha256(hash)) {
            return Err(bad("has no SHA-256 where it should be that"));
        }
        Ok(Some(Remote {
            name: name.to_owned(),
            size: entry.size.ok_or_else(|| bad("does not say the size"))?,
            sha256,
        }))
    }
}

/// `wrong_revision`: the hub speaks of another commit than it was asked for.
pub(super) fn wrong_revision(found: &str, revision: &Revision) -> Error {
    // What a server says is shown only where it is a name.
    let known = found.len() <= 64 && found.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let found = if known { found } else { "something else" };
    let message = format!("the hub answered for commit {found}; expected {revision}");
    Error::data("wrong_revision", message)
}

/// Whether these are the 64 hex digits of a SHA-256.
pub(super) fn is_sha256(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 64 && text.bytes().all(digit)
}

fn is_shard(name: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.len() <= 255 && name.ends_with(".safetensors") && !name.starts_with('.') && name.chars().all(known)
}

fn at_most(remote: Remote, most: u64) -> Result<Remote> {
    if remote.size <= most {
        return Ok(remote);
    }
    let message = format!(
        "`{}` has {} bytes; expected at most {most}",
        remote.name, remote.size
    );
    Err(Error::data("too_large", message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const COMMIT: &str = "607a30d783dfa663caf39e06633721c8d4cfcd7e";

    fn listing(files: &[Value]) -> Listing {
        let json = json!({ "sha": COMMIT, "private": false, "siblings": files });
        Listing::read(json.to_string().as_bytes(), &COMMIT.parse().expect("a commit")).expect("reads")
    }

    fn small(name: &str) -> Value {
        json!({ "rfilename": name, "size": 10, "blobId": "b" })
    }

    fn large(name: &str) -> Value {
        let hash = "0123456789abcdef".repeat(4);
        json!({ "rfilename": name, "size": 1000, "lfs": { "sha256": hash, "size": 1000, "pointerSize": 130 } })
    }

    fn names(files: &[Remote]) -> Vec<&str> {
        files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn only_what_is_read_is_fetched() {
        let all = [
            "README.md",
            "tokenizer.json",
            "config.json",
            "modeling_x.py",
            "pytorch_model.bin",
            "onnx/config.json",
            "vocab.json",
            "tokenizer_config.json",
            "generation_config.json",
            "chat_template.jinja",
            "../config.json",
        ];
        let mut files: Vec<Value> = all.map(small).to_vec();
        files.push(large("model.safetensors"));
        files.push(large("model.safetensors.index.json"));
        let listing = listing(&files);
        assert_eq!(
            names(&listing.besides().expect("files")),
            [
                "config.json",
                "generation_config.json",
                "tokenizer.json",
                "tokenizer_config.json",
                "chat_template.jinja"
            ]
        );
        let Weights::Single(weights) = listing.weights().expect("weights") else {
            panic!("one file is taken before several")
        };
        assert_eq!((weights.name.as_str(), weights.size), ("model.safetensors", 1000));
        assert!(weights.sha256.is_some_and(|hash| hash.len() == 64));
    }

    #[test]
    fn shards_are_those_of_the_index_and_nothing_else() {
        let listing = listing(&[
            small("config.json"),
            small("model.safetensors.index.json"),
            large("model-1-of-2.safetensors"),
            large("model-2-of-2.safetensors"),
            large("other.safetensors"),
            small("run.py"),
        ]);
        assert!(matches!(listing.weights().expect("weights"), Weights::Indexed(_)));
        let shards = |map: Value| listing.shards(json!({ "weight_map": map }).to_string().as_bytes());
        let found = shards(
            json!({ "a": "model-2-of-2.safetensors", "b": "model-1-of-2.safetensors", "c": "model-2-of-2.safetensors" }),
        );
        assert_eq!(
            names(&found.expect("shards")),
            ["model-1-of-2.safetensors", "model-2-of-2.safetensors"]
        );
        for (name, code) in [
            ("../model-1-of-2.safetensors", "leaves_folder"),
            ("/etc/x.safetensors", "leaves_folder"),
            ("a/x.safetensors", "leaves_folder"),
            ("a\\x.safetensors", "leaves_folder"),
            (".safetensors", "leaves_folder"),
            ("run.py", "leaves_folder"),
            ("model-3-of-2.safetensors", "missing_shard"),
        ] {
            assert_eq!(
                shards(json!({ "a": name })).expect_err(name).code(),
                code,
                "{name}"
            );
        }
        assert_eq!(
            shards(json!({ "a": 3 })).expect_err("no name").code(),
            "bad_safetensors"
        );
        let many: serde_json::Map<String, Value> = (0..=MOST_SHARDS)
            .map(|i| (i.to_string(), format!("{i}.safetensors").into()))
            .collect();
        assert_eq!(
            shards(many.into()).expect_err("too many").code(),
            "too_many_files"
        );
    }

    #[test]
    fn what_cannot_be_loaded_is_refused_before_it_is_fetched() {
        let code = |files: &[Value]| {
            let listing = listing(files);
            let weights = listing.besides().and_then(|_| listing.weights());
            weights.expect_err("refused").code()
        };
        assert_eq!(code(&[large("model.safetensors")]), "no_config");
        assert_eq!(
            code(&[small("config.json"), large("pytorch_model.bin")]),
            "pickled_weights"
        );
        assert_eq!(code(&[small("config.json"), large("model.gguf")]), "no_weights");
        let huge = json!({ "rfilename": "config.json", "size": 1_u64 << 40 });
        assert_eq!(code(&[huge, large("model.safetensors")]), "too_large");
        let unknown = json!({ "rfilename": "config.json" });
        assert_eq!(code(&[unknown, large("model.safetensors")]), "bad_listing");
        let lying = json!({ "rfilename": "model.safetensors", "size": 1, "lfs": { "sha256": "../x" } });
        assert_eq!(code(&[small("config.json"), lying]), "bad_listing");
        let revision: Revision = COMMIT.parse().expect("a commit");
        let other = json!({ "sha": "0".repeat(40), "siblings": [] }).to_string();
        assert_eq!(
            Listing::read(other.as_bytes(), &revision)
                .expect_err("another")
                .code(),
            "wrong_revision"
        );
        assert_eq!(
            Listing::read(b"<html>", &revision).expect_err("no list").code(),
            "bad_listing"
        );
    }
}
