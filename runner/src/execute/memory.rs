//! The most memory this process held.

/// Forgets earlier peaks, where the system allows it.
pub(super) fn reset_peak() {
    // A system that refuses only makes later peaks too high.
    #[expect(clippy::disallowed_methods, reason = "a switch of the kernel, not a file")]
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most memory held since then, in bytes; 0 where not known.
pub(super) fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}
