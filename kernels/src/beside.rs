//! Pieces of work beside each other. Threads that share every operation wait for one another at its end; with a piece each they
//! hardly ever do.

use rayon::prelude::*;
use std::cell::Cell;

thread_local! {
    /// Whether what this thread is at has a thread to itself.
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// What `work` makes of each, in their order; beside each other where there are several.
///
/// Where there are as many as threads, matrix products inside are left whole: one that is cut among threads lays out its
/// factors once a piece. That changes no byte.
pub fn beside<T: Send, R: Send>(all: Vec<T>, work: impl Fn(T) -> R + Send + Sync) -> Vec<R> {
    if all.len() < 2 {
        return all.into_iter().map(work).collect();
    }
    let alone = all.len() >= rayon::current_num_threads();
    let work = |piece| {
        // A thread that waits within one piece may take up another.
        let before = ALONE.replace(alone);
        let made = work(piece);
        ALONE.set(before);
        made
    };
    all.into_par_iter().map(work).collect()
}

/// Whether a matrix product here should not be cut among threads.
pub(crate) fn is_alone() -> bool {
    ALONE.get()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::on_threads;

    #[test]
    fn pieces_are_alone_where_there_are_as_many_as_threads() {
        let found = |pieces: usize| beside((0..pieces).collect(), |piece| (piece, is_alone()));
        for (threads, pieces, alone) in [(1, 2, true), (2, 2, true), (3, 2, false), (2, 1, false)] {
            let expected: Vec<_> = (0..pieces).map(|piece| (piece, alone)).collect();
            assert_eq!(
                on_threads(threads, || found(pieces)),
                expected,
                "{pieces} on {threads}"
            );
        }
        assert!(!is_alone());
    }
}
