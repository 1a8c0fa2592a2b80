//! How much memory a training takes, by an allocator that counts, beside what `plan` says of it.

// An allocator is unsafe by its nature.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use lyceum_components::model::ModelSpec;
use lyceum_components::train::{Recompute, Rehearsal, peak_memory};
use lyceum_components::{Device, Precision};
use serde_json::json;

/// Bytes held, and the most that were.
static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

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

/// The most bytes that a model and two steps of its training hold; the first step makes the optimizer's moments.
fn most(spec: &ModelSpec, vocabulary: usize, pass: [usize; 2], recompute: Recompute) -> f64 {
    let before = HELD.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let mut rehearsal =
        Rehearsal::new(spec, vocabulary, pass, Precision::F32, &Device::flex()).recompute(recompute);
    rehearsal.train();
    rehearsal.train();
    (MOST.load(Ordering::Relaxed) - before) as f64
}

#[test]
fn the_peak_is_what_the_model_of_it_says() {
    // Width, layers, heads; vocabulary; blocks and tokens of a pass: many activations, a large head, the reference decoder.
    let [deep, large, reference] = [
        ([64, 8, 4], 500, [16, 64]),
        ([64, 2, 2], 20_000, [4, 64]),
        ([256, 6, 4], 8192, [8, 256]),
    ];
    for (family, shapes) in [
        ("llama", &[deep, large, reference][..]),
        ("gpt2", &[deep, large]),
        ("gptj", &[deep, large]),
        ("gpt_neox", &[deep]),
        ("opt", &[deep]),
        ("qwen3", &[deep]),
        ("bloom", &[deep]),
    ] {
        for &([width, layers, heads], vocabulary, pass) in shapes {
            let spec = json!({
                "family": family, "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
                "max_position_embeddings": 256,
            });
            let spec: ModelSpec = serde_json::from_value(spec).expect("a model");
            let config = spec.config(vocabulary);
            let [none, block] = [Recompute::None, Recompute::Block].map(|recompute| {
                let measured = most(&spec, vocabulary, pass, recompute);
                let tokens = (pass[0] * pass[1]) as f64;
                let told = peak_memory(&config, tokens, 1, recompute);
                let mib = |bytes: f64| bytes / f64::from(1 << 20);
                let what = format!(
                    "{family} {width}×{layers}, {vocabulary}, {pass:?}, {recompute:?}: {:.1} MiB, told {:.1} MiB",
                    mib(measured),
                    mib(told)
                );
                // What is made again of several bands is there at once only where threads are as many.
                let above = match recompute {
                    Recompute::Block if tokens >= 1024.0 => 0.35,
                    _ => 0.1,
                };
                assert!((-0.1..above).contains(&(told / measured - 1.0)), "{what}");
                measured
            });
            if layers > 2 {
                assert!(block < 0.75 * none, "{family}: {block} beside {none}");
            }
        }
    }
}
