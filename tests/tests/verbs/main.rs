//! The verbs that look after what was run: listing, exporting, freeing, verifying, reporting, examining.

#![cfg(unix)]

mod completions;
mod runs;

use lyceum_tests::Lab;

fn empty_lab() -> Lab {
    Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"))
}
