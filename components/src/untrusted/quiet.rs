//! Calling libraries that panic on damaged data.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// The result of `work`, or none if it panicked. The panic's message is kept from the user, who is told what it means;
/// so are those of other threads meanwhile, as the libraries hand work to their own.
pub(crate) fn quiet<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |info| {
            if RUNNING.load(Ordering::SeqCst) == 0 {
                others(info);
            }
        }));
    });
    RUNNING.fetch_add(1, Ordering::SeqCst);
    let done = catch_unwind(AssertUnwindSafe(work)).ok();
    RUNNING.fetch_sub(1, Ordering::SeqCst);
    done
}
