//! Which experiments are checked.

use super::baseline::is_baseline;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// An experiment file that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file, as the user calls it.
    pub file: PathBuf,
    /// Its name, as far as it can be read.
    pub name: String,
}

/// The experiments among files and folders, in order, each once. A file counts as it is; a folder stands for every
/// `*.toml` in it, at any depth and sorted, that has a head `[experiment]` and is no baseline. Hidden folders and links
/// to folders are passed over.
///
/// # Errors
/// A folder that cannot be listed or a path that is not there.
pub fn find(paths: &[PathBuf], filter: Option<&str>) -> io::Result<Vec<Found>> {
    let mut files = Vec::new();
    for path in paths {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("`{}`: {e}", path.display()));
        if std::fs::metadata(path).map_err(named)?.is_dir() {
            walk(path, &mut files).map_err(named)?;
        } else {
            files.push((path.clone(), true));
        }
    }
    let mut seen = BTreeSet::new();
    let found = files.into_iter().filter_map(|(file, asked_for)| {
        let name = match std::fs::read_to_string(&file) {
            Ok(text) => experiment(&text),
            Err(_) => Some(String::new()), // what is wrong is said when it is read for good
        };
        let name = if asked_for {
            name.or(Some(String::new()))
        } else {
            name
        }?;
        let real = file.canonicalize().unwrap_or_else(|_| file.clone());
        let wanted = filter.is_none_or(|filter| {
            matches(filter, &file.to_string_lossy().replace('\\', "/")) || matches(filter, &name)
        });
        (wanted && seen.insert(real)).then_some(Found { file, name })
    });
    Ok(found.collect())
}

fn walk(folder: &Path, files: &mut Vec<(PathBuf, bool)>) -> io::Result<()> {
    let mut entries = std::fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|end| end == "toml") && path.is_file() && !is_baseline(&path) {
            files.push((path, false));
        }
    }
    Ok(())
}

/// The name in a text's head `[experiment]`; none if it has no such head. Mistakes are looked past.
fn experiment(text: &str) -> Option<String> {
    let (table, _) = DeTable::parse_recoverable(text);
    let head = table.get_ref().get("experiment")?;
    let name = head
        .get_ref()
        .get("name")
        .and_then(|name| name.get_ref().as_str());
    Some(name.unwrap_or_default().to_owned())
}

/// Whether a filter fits: as a part of the text or, with `*` or `?` in it, as a pattern of all of it.
fn matches(filter: &str, text: &str) -> bool {
    if filter.contains(['*', '?']) {
        glob(filter.as_bytes(), text.as_bytes())
    } else {
        text.contains(filter)
    }
}

/// `*` stands for any text, `?` for one byte. Goes back only to the last `*`.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, t));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_part_of_the_text_or_a_pattern_of_all_of_it() {
        for (filter, text, fits) in [
            ("mini", "ci/miniplm.toml", true),
            ("maxi", "ci/miniplm.toml", false),
            ("*mini*.toml", "ci/miniplm.toml", true),
            ("mini*", "ci/miniplm.toml", false),
            ("ci/m?niplm.toml", "ci/miniplm.toml", true),
            ("*a*b*c", "xaxxbxbxc", true),
            ("*a*b*c", "xaxxbxbx", false),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(filter, text), fits, "{filter} {text}");
        }
    }

    #[test]
    fn folders_give_experiments_sorted_and_each_once() {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("b.toml", "[experiment]\nname = \"bee\"\n");
        put("b.baseline.toml", "experiment = \"bee\"\n");
        put("a/c.toml", "[experiment]\nname = \"c\"\nbroken = = 1\n");
        put("base.toml", "[steps.x]\n");
        put(".lyceum/runs/1/resolved.toml", "[experiment]\nname = \"old\"\n");
        let names = |paths: &[PathBuf], filter| -> Vec<String> {
            let found = find(paths, filter).unwrap();
            found.into_iter().map(|found| found.name).collect()
        };
        let root = folder.path().to_path_buf();
        assert_eq!(names(std::slice::from_ref(&root), None), ["c", "bee"]);
        assert_eq!(names(&[root.join("b.toml"), root.clone()], None), ["bee", "c"]);
        assert_eq!(names(std::slice::from_ref(&root), Some("bee")), ["bee"]);
        assert_eq!(names(&[root.join("base.toml")], None), [""]);
        assert!(find(&[root.join("nothing.toml")], None).is_err());
    }
}
