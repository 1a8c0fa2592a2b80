//! The flags that every verb which reads an experiment takes.

use crate::spec::Options;
use std::path::PathBuf;

/// What the command line adds to an experiment file.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SpecOptions {
    /// Applies `[profiles.NAME]` of the experiment.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Sets one value, as in `steps.student.optim.lr=3e-4`; may be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    sets: Vec<String>,
    /// Lets the experiment read files in this folder; may be repeated.
    #[arg(long, value_name = "DIR")]
    allow: Vec<PathBuf>,
}

impl SpecOptions {
    /// The options, with the environment of this process.
    pub(crate) fn options(&self) -> Options {
        Options {
            profile: self.profile.clone(),
            sets: self.sets.clone(),
            allow: self.allow.clone(),
            ..Options::from_environment()
        }
    }

    /// The same flags for another call of this program.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let profile = self
            .profile
            .iter()
            .flat_map(|name| ["--profile".to_owned(), name.clone()]);
        let sets = self.sets.iter().flat_map(|set| ["--set".to_owned(), set.clone()]);
        let allow = self
            .allow
            .iter()
            .flat_map(|dir| ["--allow".to_owned(), dir.display().to_string()]);
        profile.chain(sets).chain(allow).collect()
    }
}
