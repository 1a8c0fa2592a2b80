//! Files and folders that steps name.

use super::confine::{HINT, confine};
use super::item::Origin;
use super::references::PointingField;
use super::resolve::Resolver;
use super::resolved::FileUse;
use lyceum_components::Error;
use lyceum_components::tasks::Task;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

impl Resolver<'_> {
    /// Where a named file or folder lies, if it is inside the root.
    fn place(&mut self, field: &PointingField, origin: &Origin) -> Option<PathBuf> {
        if field.text.is_empty() {
            return None; // the schema has said so
        }
        let folder = &self.layers.list[origin.layer].folder;
        let place = confine(&field.text, folder, &self.allowed);
        if place.is_none() {
            let message = format!("`{}` lies outside the root", field.text);
            self.found.push(
                self.layers
                    .mistake(origin, "outside_root", message)
                    .hint(Some(HINT.into())),
            );
        }
        place
    }

    fn missing(&mut self, what: String, path: &Path, origin: &Origin) {
        let hint = format!(
            "paths are relative to the file that names them: looked for {}",
            path.display()
        );
        let mistake = self.layers.mistake(origin, "missing_file", what);
        self.found.push(mistake.hint(Some(hint)));
    }

    pub(super) fn file(&mut self, field: &PointingField, origin: &Origin) -> Option<FileUse> {
        let path = self.place(field, origin)?;
        if !self.options.assume && !path.is_file() {
            self.missing(format!("there is no file `{}`", field.text), &path, origin);
            return None;
        }
        Some(FileUse {
            pointer: field.pointer.clone(),
            written: field.text.clone(),
            path,
            member: None,
        })
    }

    /// A task file, and the data files that it names.
    pub(super) fn task(&mut self, field: &PointingField, origin: &Origin) -> Vec<FileUse> {
        let Some(file) = self.file(field, origin) else {
            return Vec::new();
        };
        let found = match Task::data_files(&file.path, self.options.data()) {
            Ok(found) => found,
            Err(_) if self.options.assume => Vec::new(),
            Err(error) => {
                let (code, hint) = match &error {
                    Error::Data(error) => (error.code, error.hint.clone()),
                    other => (other.code(), None),
                };
                let mistake = self.layers.mistake(origin, code, error.to_string());
                self.found.push(mistake.hint(hint));
                Vec::new()
            }
        };
        let mut files = vec![file];
        for (number, path) in found.into_iter().enumerate() {
            let written = path.to_string_lossy().into_owned();
            let data = PointingField {
                text: written.clone(),
                ..field.clone()
            };
            if let Some(path) = self.place(&data, origin) {
                files.push(FileUse {
                    pointer: field.pointer.clone(),
                    written,
                    path,
                    member: Some(format!("data {number}")),
                });
            }
        }
        files
    }

    /// The files of a folder that have one of the endings, by name.
    pub(super) fn folder(
        &mut self,
        field: &PointingField,
        endings: &[String],
        origin: &Origin,
    ) -> Vec<FileUse> {
        let Some(path) = self.place(field, origin) else {
            return Vec::new();
        };
        let Ok(entries) = std::fs::read_dir(&path) else {
            if !self.options.assume {
                self.missing(format!("there is no folder `{}`", field.text), &path, origin);
            }
            return Vec::new();
        };
        let ending = |path: &PathBuf| path.extension().and_then(OsStr::to_str).map(str::to_owned);
        let wanted =
            |path: &PathBuf| path.is_file() && ending(path).is_some_and(|end| endings.contains(&end));
        let mut members: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(wanted)
            .collect();
        members.sort();
        if members.is_empty() {
            self.missing(
                format!(
                    "the folder `{}` has no file that ends in .{}",
                    field.text,
                    endings.join(" or .")
                ),
                &path,
                origin,
            );
        }
        let member = |path: PathBuf| FileUse {
            pointer: field.pointer.clone(),
            written: field.text.clone(),
            member: path.file_name().map(|name| name.to_string_lossy().into_owned()),
            path,
        };
        members.into_iter().map(member).collect()
    }
}
