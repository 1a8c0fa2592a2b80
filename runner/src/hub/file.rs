//! Fetching one file: begun, gone on with, checked.

use super::client::{Answer, Client, UNREACHABLE, unreachable};
use super::partial::Partial;
use super::{Address, Remote};
use lyceum_components::{Bar, Error, Result, disk};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

/// How often a file is asked for in a row without a byte coming.
const TRIES: u64 = 4;
/// Bytes of a file that are read at once.
const PIECE: usize = 1 << 20;

/// What a file is fetched with.
pub(super) struct Fetcher<'a> {
    pub(super) client: &'a Client,
    pub(super) partial: &'a Partial,
    pub(super) bar: &'a dyn Bar,
}

impl Fetcher<'_> {
    /// Fetches a file unless it is there, trying again while that may help.
    ///
    /// # Errors
    /// `wrong_size`, `wrong_hash`: what came is not what the hub has; it is not kept. Those of [`Client::get`].
    pub(super) fn fetch(&self, file: &Remote, address: &Address) -> Result<()> {
        let done = self.partial.files().join(&file.name);
        if is_whole(&done, file)? {
            self.bar.advance(file.size);
            return Ok(());
        }
        let part = self.partial.part(&file.name);
        let (mut shown, mut failed) = (0, 0);
        loop {
            let before = shown;
            match self.go_on(file, address, &part, &mut shown) {
                Ok(()) => break,
                Err(error) if error.code() == UNREACHABLE => {
                    failed = if shown > before { 1 } else { failed + 1 };
                    if failed == TRIES {
                        return Err(error);
                    }
                    crate::cli::say(&format!("note: {error}; asking again"));
                    self.client.pause(1 << (failed - 1))?;
                }
                Err(error) => return Err(error),
            }
        }
        disk::rename(&part, &done).map_err(Error::io("cannot write", &done))
    }

    /// Fetches what `part` lacks. `shown`: how many bytes the bar has been told of.
    fn go_on(&self, file: &Remote, address: &Address, part: &Path, shown: &mut u64) -> Result<()> {
        let mut hasher = Sha256::new();
        // Without a hash nothing would tell that two halves are not of one file.
        let mut have = match file.sha256 {
            Some(_) => hash_file(part, &mut hasher)?.unwrap_or_default(),
            None => 0,
        };
        if have > file.size {
            (have, hasher) = (0, Sha256::new());
        }
        let mut hash = file.sha256.clone();
        if have < file.size || file.size == 0 {
            let mut answer = self.client.get(address, have)?;
            if answer.from < have {
                (have, hasher) = (0, Sha256::new());
            }
            hash = agreed(file, &answer)?;
            let opened = if have == 0 {
                disk::File::create(part)
            } else {
                disk::File::append(part)
            };
            let mut out = opened.map_err(Error::io("cannot write", part))?;
            while let Some(bytes) = self.client.next(&mut answer)? {
                let bytes = bytes.as_ref();
                have += bytes.len() as u64;
                if have > file.size {
                    return Err(not_that(
                        part,
                        "wrong_size",
                        &format!("`{}` is longer than the hub says: {} bytes", file.name, file.size),
                    ));
                }
                out.write_all(bytes).map_err(Error::io("cannot write", part))?;
                hasher.update(bytes);
                if have > *shown {
                    self.bar.advance(have - *shown);
                    *shown = have;
                }
            }
            if have < file.size {
                let what = format!("`{}` broke off after {have} of {} bytes", file.name, file.size);
                return Err(unreachable(&address.host(), &what));
            }
            out.sync().map_err(Error::io("cannot sync", part))?;
        }
        if hash.is_some_and(|hash| hash != hex(hasher)) {
            let what = format!("`{}` does not have the SHA-256 that the hub says", file.name);
            return Err(not_that(part, "wrong_hash", &what));
        }
        Ok(())
    }
}

/// The hash that the file must have, by the hub's list and by its answer. `wrong_size`, `wrong_hash`: they differ.
fn agreed(file: &Remote, answer: &Answer) -> Result<Option<String>> {
    let name = &file.name;
    if let Some(size) = answer.told.size.filter(|size| *size != file.size) {
        let message = format!(
            "the hub says of `{name}` that it has {} bytes, and that it has {size}",
            file.size
        );
        return Err(Error::data("wrong_size", message));
    }
    match (&file.sha256, &answer.told.sha256) {
        (Some(listed), Some(told)) if listed != told => Err(Error::data(
            "wrong_hash",
            format!("the hub says two different SHA-256 of `{name}`"),
        )),
        (listed, told) => Ok(listed.clone().or_else(|| told.clone())),
    }
}

/// A mistake in what came, which is removed.
fn not_that(part: &Path, code: &'static str, what: &str) -> Error {
    let _ = fs::remove_file(part);
    Error::data(code, what).hint("run the same command again: it is fetched afresh")
}

/// Whether a file of an earlier try is there and is what it should be; one that is not is removed.
fn is_whole(file: &Path, remote: &Remote) -> Result<bool> {
    let mut hasher = Sha256::new();
    let Some(size) = hash_file(file, &mut hasher)? else {
        return Ok(false);
    };
    let found = hex(hasher);
    if size == remote.size && remote.sha256.as_ref().is_none_or(|hash| *hash == found) {
        return Ok(true);
    }
    fs::remove_file(file).map_err(Error::io("cannot remove", file))?;
    Ok(false)
}

/// Hashes a file that may be there; how many bytes it has.
fn hash_file(file: &Path, hasher: &mut Sha256) -> Result<Option<u64>> {
    let mut opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("cannot read", file)(error)),
    };
    let mut piece = vec![0; PIECE];
    let mut size = 0;
    loop {
        let read = opened.read(&mut piece).map_err(Error::io("cannot read", file))?;
        if read == 0 {
            return Ok(Some(size));
        }
        hasher.update(&piece[..read]);
        size += read as u64;
    }
}

fn hex(hasher: Sha256) -> String {
    let digits = hasher.finalize().into_iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}
