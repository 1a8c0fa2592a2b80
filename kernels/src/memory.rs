//! What the allocator does with large pieces of memory.

/// Tells mimalloc, where it is the allocator, to keep what is freed for the next step instead of giving it back: every step
/// of a training takes and frees the same activations, and pages that come back from the system have to be cleared again.
pub fn keep_freed_memory() {
    /// mimalloc's `mi_option_purge_delay`, which the bindings leave out; -1 is never.
    const PURGE_DELAY: i32 = 15;
    // SAFETY: an option that exists is set to a value that it takes; mimalloc keeps options as atomics.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) }
}
