//! Reading an experiment file and those it extends.

use super::confine::{HINT, confine};
use super::diagnostics::{Diagnostic, Diagnostics, Source};
use super::document::{Content, Field, Node, parse};
use super::layers::{Layer, Layers};
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An experiment file larger than this is taken for a mistake: it is a file of data.
const MOST_BYTES: u64 = 1 << 20;
/// More files than this are taken for a mistake: what extends what is a tree, which may branch.
const MOST_FILES: usize = 64;

/// Reads a file and those it extends.
pub(super) struct Reader<'a> {
    pub(super) allowed: Vec<PathBuf>,
    /// The files being read.
    pub(super) stack: Vec<PathBuf>,
    pub(super) layers: Layers,
    pub(super) found: &'a mut Diagnostics,
}

impl Reader<'_> {
    /// The text of a file. Mistakes stand where it is named, or else in the file itself.
    pub(super) fn text(
        &mut self,
        file: &Path,
        named_at: Option<(&Arc<Source>, &Range<usize>)>,
    ) -> Option<String> {
        let name = file.display().to_string();
        let (code, message, hint) = match read_text(file) {
            Ok(bytes) if bytes.len() as u64 > MOST_BYTES => (
                "too_large",
                format!("`{name}` is larger than {MOST_BYTES} bytes"),
                Some("an experiment names its data by file; is this the data?".to_owned()),
            ),
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => return Some(text),
                Err(error) => {
                    let byte = error.utf8_error().valid_up_to();
                    let message = format!("`{name}` is not UTF-8 (byte {byte})");
                    (
                        "invalid_utf8",
                        message,
                        Some("save it as UTF-8 in your editor".to_owned()),
                    )
                }
            },
            Err(error) => ("cannot_read", format!("cannot read `{name}`: {error}"), None),
        };
        let own = Arc::new(Source {
            name,
            text: String::new(),
        });
        let (source, span) = named_at.unwrap_or((&own, &(0..0)));
        self.found
            .push(Diagnostic::new(source, span.clone(), code, message).hint(hint));
        None
    }

    /// Adds the layers of a file: what it extends first.
    pub(super) fn read(&mut self, file: &Path, text: String) {
        let name = file.display().to_string();
        let source = Arc::new(Source { name, text });
        let mut node = parse(&source, self.found);
        let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
        self.stack
            .push(file.canonicalize().unwrap_or_else(|_| file.to_path_buf()));
        if let Some(extends) = node.take("extends") {
            let bases: &[Node] = match &extends.node.content {
                Content::Array(nodes) => nodes,
                _ => std::slice::from_ref(&extends.node),
            };
            for base in bases {
                self.base(&source, base, &folder);
            }
        }
        self.stack.pop();
        if let Some(field) = node.take("profiles") {
            self.profiles(&source, field, &folder);
        }
        self.layers.list.push(Layer { source, folder, node });
    }

    fn base(&mut self, source: &Arc<Source>, base: &Node, folder: &Path) {
        let mistake = |code, message: String| Diagnostic::new(source, base.span.clone(), code, message);
        let Some(written) = base.as_str() else {
            let mistake = mistake("wrong_type", "`extends` wants a list of file names".into());
            self.found.push(mistake.label("expected a string"));
            return;
        };
        let Some(path) = confine(written, folder, &self.allowed) else {
            let message = format!("`{written}` lies outside the root");
            self.found
                .push(mistake("outside_root", message).hint(Some(HINT.into())));
            return;
        };
        if self.stack.contains(&path) {
            let message = format!("`{written}` extends this file in turn");
            self.found
                .push(mistake("extends_cycle", message).hint(Some("take one of the two out".into())));
            return;
        }
        if self.layers.list.len() + self.stack.len() >= MOST_FILES {
            let message = format!("more than {MOST_FILES} files extend each other");
            // Said once: where files branch, thousands may be too many.
            if self.found.list.iter().all(|other| other.code != "too_many_files") {
                self.found
                    .push(mistake("too_many_files", message).label("one too many"));
            }
            return;
        }
        let named = folder.join(written);
        if let Some(text) = self.text(&named, Some((source, &base.span))) {
            self.read(&named, text);
        }
    }

    fn profiles(&mut self, source: &Arc<Source>, field: Field, folder: &Path) {
        let mut refuse = |span: Range<usize>, message: String| {
            let mistake = Diagnostic::new(source, span, "wrong_type", message);
            self.found.push(mistake.label("expected a table"));
        };
        let Content::Table(fields) = field.node.content else {
            refuse(field.node.span, "`profiles` wants tables by name".into());
            return;
        };
        for Field { key, node, .. } in fields {
            if !matches!(node.content, Content::Table(_)) {
                refuse(node.span, format!("profile `{key}` is not a table"));
                continue;
            }
            let layer = Layer {
                source: source.clone(),
                folder: folder.to_path_buf(),
                node,
            };
            self.layers.profiles.push((key, layer));
        }
    }
}

/// What a file holds, up to a byte more than is allowed.
fn read_text(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)?
        .take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
