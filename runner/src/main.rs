//! The `lyceum` command.

use std::process::ExitCode;

// Activations of a few megabytes come and go every step; the system allocator maps and unmaps each of them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lyceum_components::keep_freed_memory();
    lyceum::cli::main().into()
}
