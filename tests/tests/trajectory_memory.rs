//! The memory that a trajectory's plan tells of is what going forth and back takes at most.

// The allocator below counts what the process holds; there is no safe way to do that.
#![allow(unsafe_code)]

use lyceum_components::Result;
use lyceum_components::trajectory::{Difference, ExampleLosses, Plan, Training, Trajectory, gains};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes held now, and at most since [`PEAK`] was last set.
static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call is passed on to the system's allocator; counting touches nothing it gives.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::SeqCst) + layout.size();
        PEAK.fetch_max(held, Ordering::SeqCst);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::SeqCst);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PARAMETERS: usize = 200_000;
const STEPS: usize = 40;

/// l(θ) = ½ ‖θ‖² and J = Σθ, by differences. It holds nothing as long as the parameters.
struct Decay;

impl Training for Decay {
    type Number = f64;

    fn parameters(&self) -> usize {
        PARAMETERS
    }

    fn examples(&self) -> usize {
        1
    }

    fn loss(&mut self, _: usize, theta: &[f64], gradient: &mut [f64]) -> Result<f64> {
        gradient.copy_from_slice(theta);
        Ok(0.5 * theta.iter().map(|x| x * x).sum::<f64>())
    }

    fn target(&mut self, _: usize, theta: &[f64], gradient: &mut [f64]) -> Result<f64> {
        gradient.fill(1.0);
        Ok(theta.iter().sum())
    }

    fn hessian(&mut self, step: usize, theta: &[f64], v: &[f64], product: &mut [f64]) -> Result<()> {
        Difference::Relative(1e-6).hessian(self, step, theta, v, product)
    }

    fn products(&mut self, _: usize, theta: &[f64], v: &[f64], products: &mut [f64]) -> Result<()> {
        Difference::Relative(1e-6).products(self, theta, v, products)
    }
}

impl ExampleLosses for Decay {
    fn losses(&mut self, theta: &[f64], losses: &mut [f64]) -> Result<()> {
        losses.fill(0.5 * theta.iter().map(|x| x * x).sum::<f64>());
        Ok(())
    }
}

#[test]
fn no_more_is_held_than_the_plan_says() {
    let folder = tempfile::tempdir().expect("a folder");
    for every in [1, 3, 6, STEPS] {
        for on_disk in [false, true] {
            let plan = Plan::new(STEPS, every);
            let start = vec![0.5; PARAMETERS];
            let told = plan.memory(PARAMETERS as f64, 8, on_disk);
            let before = HELD.load(Ordering::SeqCst);
            PEAK.store(before, Ordering::SeqCst);
            let scratch = folder.path().join(format!("{every}"));
            let mut trajectory = if on_disk {
                std::fs::create_dir_all(&scratch).expect("a folder");
                Trajectory::on_disk(plan, 0.01, &scratch)
            } else {
                Trajectory::in_memory(plan, 0.01)
            };
            trajectory
                .forward(&mut Decay, &start, &mut |_| Ok(()))
                .expect("goes forth");
            gains(&mut Decay, &trajectory, 1, None, &mut |_| Ok(())).expect("goes back");
            let peak = (PEAK.load(Ordering::SeqCst) - before) as f64;
            // What is no vector of parameters is small beside one.
            let vector = PARAMETERS as f64 * 8.0;
            assert!(peak <= told + 0.2 * vector, "every {every}: {peak} of {told}");
            assert!(peak >= told - 2.2 * vector, "every {every}: {peak} of {told}");
            if on_disk {
                let files = std::fs::read_dir(&scratch).expect("lists").flatten();
                let bytes: u64 = files.map(|file| file.metadata().expect("a file").len()).sum();
                assert!(
                    bytes as f64 <= plan.scratch(PARAMETERS as f64, 8),
                    "every {every}"
                );
            }
        }
    }
}
