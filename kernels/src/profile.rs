//! Where the time goes: what each fused operation takes, while it is asked for.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static ON: AtomicBool = AtomicBool::new(false);
static SPENT: Mutex<BTreeMap<&'static str, Spent>> = Mutex::new(BTreeMap::new());

/// What an operation took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// How often it ran.
    pub calls: u64,
    /// Time on the clock, of all calls.
    pub time: Duration,
}

/// Runs `work` and gives what every fused operation took meanwhile, by name. Operations of other threads count as well;
/// what burn itself does is not among them.
pub fn profile<T>(work: impl FnOnce() -> T) -> (T, BTreeMap<&'static str, Spent>) {
    let taken = || std::mem::take(&mut *SPENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    taken();
    ON.store(true, Ordering::Relaxed);
    let value = work();
    ON.store(false, Ordering::Relaxed);
    (value, taken())
}

/// Runs an operation; what it takes is kept while someone asks for it.
pub(crate) fn timed<T>(name: &'static str, operation: impl FnOnce() -> T) -> T {
    if !ON.load(Ordering::Relaxed) {
        return operation();
    }
    let start = Instant::now();
    let value = operation();
    let time = start.elapsed();
    let mut spent = SPENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let entry = spent.entry(name).or_default();
    entry.calls += 1;
    entry.time += time;
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{tensor, values};
    use burn::tensor::DType;

    #[test]
    fn operations_are_counted_only_while_asked() {
        let x = || tensor(&values(1, 12, 1.0), [3, 4], DType::F32, true).require_grad();
        let weight = || tensor(&values(2, 4, 1.0), [4], DType::F32, true);
        crate::rms_norm(x(), weight(), 1e-5);
        let (_, spent) = profile(|| crate::rms_norm(x(), weight(), 1e-5).sum().backward());
        // Other tests run beside this one, so that there may be more.
        assert!(spent["rms_norm"].calls >= 1 && spent["rms_norm, backward"].calls >= 1);
        assert!(spent["rms_norm"].time > Duration::ZERO);
    }
}
