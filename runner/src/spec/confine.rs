//! The root, and keeping paths inside it.

use std::path::{Component, Path, PathBuf};

/// The nearest ancestor of `file` with `lyceum.toml`, `.git` or a store, else the file's own folder. The store counts so
/// that the resolved experiments inside it have the root they were run with.
pub fn find_root(file: &Path) -> PathBuf {
    let folder = absolute(file)
        .parent()
        .map_or_else(|| PathBuf::from("/"), Path::to_path_buf);
    let marks = ["lyceum.toml", ".git", ".lyceum"];
    let marked = folder
        .ancestors()
        .find(|dir| marks.iter().any(|mark| dir.join(mark).exists()));
    marked.unwrap_or(&folder).to_path_buf()
}

/// An absolute path with links followed as far as it exists and `.` and `..` taken away.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    let start = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let mut out = PathBuf::new();
    for part in start.join(path).components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            part => out.push(part),
        }
        // Links are followed where they stand, so that `link/..` means what the system takes it to mean.
        if let Ok(real) = out.canonicalize() {
            out = real;
        }
    }
    out
}

/// What to do about a file outside the root.
pub(crate) const HINT: &str = "put it inside, name its folder with `--allow DIR`, or set LYCEUM_DATA";

/// Where `written`, relative to `folder`, lies; none if that is outside every allowed folder. Those are absolute.
pub(crate) fn confine(written: &str, folder: &Path, allowed: &[PathBuf]) -> Option<PathBuf> {
    let path = absolute(&folder.join(written));
    allowed.iter().any(|root| path.starts_with(root)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_leave_the_root_by_dots_link_or_slash() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("link")).unwrap();
        let allowed = [absolute(root.path())];
        let inside = |written: &str| confine(written, root.path(), &allowed).is_some();
        assert!(inside("a/b"));
        assert!(inside("a/../b"));
        assert!(!inside("../b"));
        assert!(!inside("link/secret"));
        assert!(!inside(outside.path().join("secret").to_str().unwrap()));
        assert!(confine("link/secret", root.path(), &[absolute(outside.path())]).is_some());
    }
}
