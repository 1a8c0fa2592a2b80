//! Reading pairs back.

use crate::artifact::{InstructionPair, PAIRS_FILE, PairsDetails, pairs_of};
use crate::table::{read_on, row_groups};
use crate::{Artifact, Error, Kind, Result};
use polars::prelude::{ParquetReader, SerReader};

/// The pairs of an artifact.
#[derive(Debug)]
pub struct Pairs {
    source: Artifact,
    details: PairsDetails,
    groups: Vec<usize>,
}

impl Pairs {
    /// Opens pairs. `wrong_kind`, `bad_table`, `length_mismatch`: the table is not as long as its header says.
    pub fn open(artifact: &Artifact) -> Result<Self> {
        let source = artifact.clone().expect(&[Kind::Pairs])?;
        let details: PairsDetails = source.details()?;
        let file = source.path.join(PAIRS_FILE);
        let groups = row_groups(&file)?;
        let rows: usize = groups.iter().sum();
        if rows as u64 != details.pairs {
            let message = format!("{rows} rows were found; expected {}", details.pairs);
            return Err(Error::data("length_mismatch", message)
                .in_file(&file)
                .hint("delete the artifact's folder; the next run makes it again"));
        }
        Ok(Self {
            source,
            details,
            groups,
        })
    }

    /// Number of pairs.
    pub fn len(&self) -> u64 {
        self.details.pairs
    }

    /// Whether there is none; no step leaves such pairs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The artifact.
    pub fn source(&self) -> &Artifact {
        &self.source
    }

    /// Its header.
    pub fn details(&self) -> &PairsDetails {
        &self.details
    }

    /// The pairs in order, holding one row group at a time. `bad_table`.
    pub fn read(&self) -> impl Iterator<Item = Result<InstructionPair>> + use<'_> {
        let file = self.source.path.join(PAIRS_FILE);
        let starts = self.groups.iter().scan(0, |start, &rows| {
            *start += rows;
            Some((*start - rows, rows))
        });
        starts.flat_map(move |slice| {
            let group = read_on(&file, |source| {
                ParquetReader::new(source).with_slice(Some(slice)).finish()
            });
            match group.and_then(|frame| pairs_of(&frame, &file)) {
                Ok(pairs) => pairs.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::PairsWriter;
    use crate::testing::Bench;
    use std::collections::BTreeMap;

    fn pair(id: u64) -> InstructionPair {
        InstructionPair {
            id,
            prompt: format!("say {id}"),
            input: if id.is_multiple_of(2) {
                String::new()
            } else {
                "«–»".to_owned()
            },
            response: id.to_string(),
            responses: (0..=id % 3).map(|n| (id + n).to_string()).collect(),
            meta: [("family".to_owned(), serde_json::json!({ "n": id }))]
                .into_iter()
                .collect(),
        }
    }

    fn written(bench: &Bench, count: u64) -> Artifact {
        let mut writer = PairsWriter::create(&bench.at("pairs"));
        (0..count)
            .map(|id| pair(3 * id))
            .try_for_each(|pair| writer.push(pair))
            .expect("pushes");
        writer
            .finish(3 * count, BTreeMap::from([("short_prompts".to_owned(), 2)]))
            .expect("writes");
        bench.publish("pairs")
    }

    #[test]
    fn what_is_written_is_read_over_row_groups() {
        let bench = Bench::new();
        let artifact = written(&bench, 9000);
        let pairs = Pairs::open(&artifact).expect("opens");
        assert_eq!(pairs.groups, [8192, 808]);
        assert_eq!((pairs.len(), pairs.details().documents), (9000, 27_000));
        let read: Vec<_> = pairs.read().collect::<Result<_>>().expect("reads");
        assert_eq!(read.len(), 9000);
        assert_eq!(read[8999], pair(3 * 8999));
        assert_eq!(read[7], pair(21));
    }

    #[test]
    fn nothing_is_no_pairs() {
        let bench = Bench::new();
        let dropped = BTreeMap::from([("long_prompts".to_owned(), 4)]);
        let error = PairsWriter::create(&bench.at("none"))
            .finish(4, dropped)
            .expect_err("none");
        assert_eq!(error.code(), "empty_pairs");
        assert!(error.to_string().contains("long_prompts 4"), "{error}");
    }

    #[test]
    fn damage_anywhere_is_an_error_and_never_a_crash() {
        let bench = Bench::new();
        let artifact = written(&bench, 5);
        let file = artifact.path.join(PAIRS_FILE);
        let sound = std::fs::read(&file).expect("reads");
        let all = || -> Result<Vec<InstructionPair>> { Pairs::open(&artifact)?.read().collect() };
        assert_eq!(all().expect("sound").len(), 5);
        let mut refused = 0;
        for at in (0..sound.len()).step_by(2) {
            let mut bad = sound.clone();
            bad[at] ^= 0xff;
            std::fs::write(&file, &bad).expect("writes");
            refused += i32::from(all().is_err());
        }
        assert!(refused > 40, "{refused}");
        std::fs::write(&file, &sound[..sound.len() / 2]).expect("writes");
        assert_eq!(all().expect_err("half a table").code(), "bad_table");
    }
}
