//! `lyceum completions`.

use super::print;
use crate::Exit;
use clap::CommandFactory;
use clap_complete::Shell;

/// Writes a shell's completion script to stdout.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut super::Arguments::command(),
        "lyceum",
        &mut script,
    );
    print(&String::from_utf8_lossy(&script))
}
