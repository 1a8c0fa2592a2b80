//! Which token shards a folder holds, and in what order.

use super::megatron::bad;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Paths of a folder's shards without their endings, in the order of their numbers: `data_0`, `data_1` and so on without a
/// gap, or one shard of any name. With `range`, only those with these numbers.
///
/// # Errors
/// `bad_shard`: there is none, a number is missing, or names are of several kinds.
pub(crate) fn stems(folder: &Path, range: Option<Range<u64>>) -> Result<Vec<PathBuf>> {
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io("cannot read", folder))? {
        let path = entry.map_err(Error::io("cannot read", folder))?.path();
        let ends = path.extension().is_some_and(|end| end == "bin" || end == "idx");
        if let Some(stem) = path.file_stem().filter(|_| ends && path.is_file()) {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort();
    names.dedup();
    if let ([name], None) = (names.as_slice(), &range) {
        return Ok(vec![folder.join(name)]);
    }
    let mut numbered: BTreeMap<u64, &str> = BTreeMap::new();
    let mut prefix = None;
    for name in &names {
        let Some((before, number)) = numbered_name(name) else {
            return Err(bad(
                folder,
                &format!("`{name}` has no number among several shards"),
            ));
        };
        if *prefix.get_or_insert(before) != before {
            return Err(bad(
                folder,
                &format!("`{}` and `{name}` are of two sets", names[0]),
            ));
        }
        if numbered.insert(number, name).is_some() {
            return Err(bad(folder, &format!("two shards have the number {number}")));
        }
    }
    let wanted = range.unwrap_or(0..names.len() as u64);
    if wanted.is_empty() {
        return Err(bad(folder, "there are no `.bin` and `.idx` files"));
    }
    let stem = |number: u64| {
        let name = numbered.get(&number);
        let missing = || bad(folder, &format!("shard number {number} is missing"));
        name.map(|name| folder.join(name)).ok_or_else(missing)
    };
    wanted.map(stem).collect()
}

/// What comes before the number that a name ends with, and the number.
fn numbered_name(name: &str) -> Option<(&str, u64)> {
    let before = name.trim_end_matches(|c: char| c.is_ascii_digit());
    Some((before, name[before.len()..].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in names {
            std::fs::write(folder.path().join(name), "").expect("writes");
        }
        folder
    }

    fn found(names: &[&str], range: Option<Range<u64>>) -> Result<Vec<String>> {
        let folder = folder(names);
        let stems = stems(folder.path(), range)?;
        let name = |stem: &PathBuf| stem.file_name().expect("a name").to_string_lossy().into_owned();
        Ok(stems.iter().map(name).collect())
    }

    #[test]
    fn shards_come_by_number_and_gaps_are_refused() {
        let pairs = |numbers: &[u64]| -> Vec<String> {
            let pair = |n: &u64| [format!("data_{n}.bin"), format!("data_{n}.idx")];
            numbers.iter().flat_map(pair).collect()
        };
        let all = pairs(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(found(&all, None).expect("whole")[9..], ["data_9", "data_10"]);
        assert_eq!(
            found(&all, Some(2..4)).expect("some of them"),
            ["data_2", "data_3"]
        );
        assert_eq!(found(&["pile_text_document.bin"], None).expect("one").len(), 1);
        let gap = pairs(&[0, 2]);
        let gap: Vec<&str> = gap.iter().map(String::as_str).collect();
        for (names, range) in [
            (&gap[..], None),
            (&all[..], Some(9..12)),
            (&all[..], Some(3..3)),
            (&[], None),
            (&["a.bin", "b.bin"], None),
            (&["a_0.bin", "b_1.bin"], None),
            (&["a_0.bin", "a_00.bin"], None),
        ] {
            assert_eq!(found(names, range).expect_err("a mistake").code(), "bad_shard");
        }
    }
}
