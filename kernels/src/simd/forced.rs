//! Tests as on a processor that can do less than this one.

use std::cell::Cell;

use super::Level;

thread_local! {
    /// The level that this thread takes at most.
    static MOST: Cell<Level> = const { Cell::new(Level::Avx512) };
}

pub(crate) fn most() -> Level {
    MOST.get()
}

/// Lets this thread take no more than a level.
pub(crate) fn set(most: Level) {
    MOST.set(most);
}
