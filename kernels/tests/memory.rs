//! How much memory operations take, by an allocator that counts.

// An allocator is unsafe by its nature.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{DType, Device, Distribution, Int, Tensor, activation::log_softmax};
use lyceum_kernels::{
    Divergence, Orientation, Products, Projection, Teacher, linear, linear_argmax,
    linear_cross_entropy_along, linear_divergence, linear_likeliest, linear_nll,
};

/// Bytes held, and the most that were.
static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// Tests share the count.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct Counting;

// SAFETY: the system's allocator does the work; only sizes are noted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(address, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that `work` holds beyond what was held before.
fn most(work: impl FnOnce()) -> usize {
    let before = HELD.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    work();
    MOST.load(Ordering::Relaxed) - before
}

fn projection([n, d, v]: [usize; 3], device: &Device) -> Projection {
    let random = |shape: [usize; 2]| Tensor::random(shape, Distribution::Normal(0.0, 1.0), device);
    Projection {
        hidden_nd: random([n, d]),
        head_vd: random([v, d]),
        bias_v: None,
    }
}

/// At a vocabulary of 50,257 an eighth of what it takes with all logits in memory, and less than all logits once.
#[test]
fn a_divergence_never_holds_the_logits_of_all_rows() {
    let _guard = ONE_AT_A_TIME.lock();
    let [n, d, v] = [320, 8, 50_257];
    let student = projection([n, d, v], &Device::flex().autodiff());
    let student = Projection {
        hidden_nd: student.hidden_nd.require_grad(),
        head_vd: student.head_vd.require_grad(),
        ..student
    };
    let teacher = projection([n, 2 * d, v], &Device::flex());
    let weights = Tensor::<1>::ones([n], &Device::flex());
    let chunked = most(|| {
        let teacher = Teacher::Dense(teacher.clone());
        let found = linear_divergence(
            student.clone(),
            teacher,
            Divergence::ReverseKl,
            1.0,
            weights.clone(),
        );
        let _ = found.loss.backward();
    });
    let whole = most(|| {
        let log_q = log_softmax(
            student
                .hidden_nd
                .clone()
                .matmul(student.head_vd.clone().transpose()),
            1,
        );
        let log_p = log_softmax(
            teacher
                .hidden_nd
                .clone()
                .matmul(teacher.head_vd.clone().transpose()),
            1,
        );
        let _ = (log_q.clone().exp() * (log_q - log_p.autodiff()))
            .sum()
            .backward();
    });
    assert!(chunked < whole / 8, "{chunked} bytes, {whole} with all logits");
    assert!(chunked < n * v * size_of::<f32>(), "{chunked} bytes");
}

/// A head of GPT-2's size held in bfloat16 takes 154 MB in f32: products with it get by with a few panels and, of the
/// logits, what is asked for.
#[test]
fn weights_in_bfloat16_are_never_widened_as_a_whole() {
    /// Room for panels and for what the product packs.
    const ROOM: usize = 24 << 20;
    let _guard = ONE_AT_A_TIME.lock();
    let [n, k, v] = [256, 768, 50_257];
    let Projection {
        hidden_nd, head_vd, ..
    } = projection([n, k, v], &Device::flex());
    let head_vd = head_vd.cast(DType::BF16);
    let targets_n: Tensor<1, Int> = Tensor::arange(0..n as i64, &Device::flex());
    let products = Products::Full;
    let scored = most(|| {
        linear_nll(
            hidden_nd.clone(),
            head_vd.clone(),
            None,
            targets_n.clone(),
            products,
        );
    });
    // Logits may be a quarter of the head.
    assert!(scored < ROOM + k / 4 * v * size_of::<f32>(), "{scored} bytes");
    for orientation in [Orientation::OutputsFirst, Orientation::InputsFirst] {
        let w = match orientation {
            Orientation::OutputsFirst => head_vd.clone(),
            Orientation::InputsFirst | Orientation::Panels => head_vd.clone().reshape([k, v]),
        };
        let multiplied = most(|| {
            linear(hidden_nd.clone(), w.clone(), orientation, None, products);
        });
        let result = n * v * size_of::<f32>();
        assert!(multiplied < ROOM + result, "{orientation:?}: {multiplied} bytes");
    }
}

/// Derivatives along a direction of the head hold a chunk's logits, less than an eighth of all.
#[test]
fn derivatives_along_a_direction_never_hold_the_logits_of_all_rows() {
    let _guard = ONE_AT_A_TIME.lock();
    let [n, d, v] = [1024, 8, 50_257];
    let device = Device::flex();
    let projection = projection([n, d, v], &device);
    let direction = Tensor::random([v, d], Distribution::Normal(0.0, 1.0), &device);
    let (targets, weights) = (Tensor::zeros([n], &device), Tensor::ones([n], &device));
    let held = most(|| {
        let _ = linear_cross_entropy_along(projection, direction, None, targets, weights);
    });
    assert!(held < n * v * size_of::<f32>() / 8, "{held} bytes");
}

/// The likeliest tokens are looked for in a chunk's logits, less than a quarter of all.
#[test]
fn the_likeliest_tokens_never_hold_the_logits_of_all_rows() {
    let _guard = ONE_AT_A_TIME.lock();
    let [n, d, v] = [1024, 8, 50_257];
    let projection = projection([n, d, v], &Device::flex());
    let all = n * v * size_of::<f32>();
    let held = most(|| {
        let _ = linear_likeliest(projection.clone(), 64, 1.0, Products::Full);
    });
    assert!(held < all / 4, "{held} bytes");
    let held = most(|| {
        let _ = linear_argmax(projection.clone(), Products::Full);
    });
    assert!(held < all / 4, "{held} bytes");
}
