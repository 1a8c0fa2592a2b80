//! Ctrl-C: the first asks for an orderly stop, the second stops at once.

use crate::Exit;
use lyceum_components::Cancel;

/// A handle that is set by SIGINT or SIGTERM. Install it once a process.
pub(crate) fn cancel_on_signal() -> Cancel {
    let cancel = Cancel::default();
    let handle = cancel.clone();
    let installed = ctrlc::set_handler(move || {
        if handle.is_cancelled() {
            std::process::exit(i32::from(Exit::Interrupted as u8));
        }
        crate::cli::say("stopping at the next safe point; once more stops at once");
        handle.cancel();
    });
    if let Err(error) = installed {
        crate::cli::say(&format!(
            "note: interrupts cannot be caught here ({error}); a stop may lose some work"
        ));
    }
    cancel
}
