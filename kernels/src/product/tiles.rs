//! Products of operands rounded to bfloat16, by AVX-512's `vdpbf16ps`.
//!
//! Both operands are packed to words of two consecutive `k`, rounded on the way: the right one once, in panels of
//! [`NR`] columns, the left one by every task for its own rows, in panels of [`MR`] rows. A register tile then runs over
//! all words of a panel of each. Subnormal numbers count as zero.

use std::arch::x86_64::{_mm512_add_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps};
use std::arch::x86_64::{_mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps};
use std::cell::Cell;

use rayon::prelude::*;

use super::{Factor, Start};
use crate::matrix::{Shared, View};
use crate::simd::{Level, level};

mod pack;

use pack::{lanes, pack};

/// Rows of a register tile and of a left panel.
const MR: usize = 8;
/// Columns of a register tile and of a right panel. 8 × 3 registers of sums leave room for three of the right panel and a
/// broadcast word of the left one.
const NR: usize = 48;
/// `k` of a block: a right panel then takes 36 KiB, a left one 6 KiB.
const KC: usize = 384;
/// Words of a block.
const WORDS: usize = KC / 2;
/// Most rows of a task: their block takes 192 KiB.
const MC: usize = 256;
/// Fewest panels of a task, since each packs its rows again.
const PANELS: usize = 8;
/// Multiply-adds from which a product is worth several threads.
const PARALLEL: usize = 1 << 18;

/// A cache line of packed words, which are read through pointers.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [u32; 16]);

thread_local! {
    /// Memory of the last packed right and left operands, kept for the next. Taken out while in use: a thread that waits
    /// for others may begin another product.
    static RIGHT: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
    static LEFT: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// Whether this processor has what is needed.
pub(super) fn available() -> bool {
    level() == Level::Avx512 && is_x86_feature_detected!("avx512bf16")
}

/// A packed right operand, block of `k` by block, panel by panel.
pub(super) struct Packed {
    lines: Vec<Line>,
    k: usize,
    n: usize,
}

impl Drop for Packed {
    fn drop(&mut self) {
        RIGHT.set(std::mem::take(&mut self.lines));
    }
}

/// At least `count` words.
fn sized(mut lines: Vec<Line>, count: usize) -> Vec<Line> {
    let count = count.div_ceil(16);
    if lines.len() < count {
        lines.clear(); // Nothing is worth copying.
        lines.resize(count, Line([0; 16]));
    }
    lines
}

/// The words of a block of `k`.
fn block(k: usize, index: usize) -> (usize, usize) {
    (index * KC, KC.min(k - index * KC))
}

impl Packed {
    /// Packs `factor` on all threads. Only where the kernel is [available].
    pub(super) fn new(factor: Factor) -> Self {
        match factor {
            Factor::F32(view) => Self::of(view),
            Factor::Bf16(view) => Self::of(view),
        }
    }

    fn of<T: pack::Element>(view: View<T>) -> Self {
        assert!(available(), "the processor has bfloat16 products");
        let (k, n, panels) = (view.rows, view.columns, view.columns.div_ceil(NR));
        let blocks = k.div_ceil(KC);
        let mut lines = sized(RIGHT.take(), blocks * WORDS * panels * NR);
        let target = Shared(lines.as_mut_ptr().cast());
        let group = panels.div_ceil(4 * rayon::current_num_threads()).max(1);
        let groups = panels.div_ceil(group);
        let task = |task: usize| {
            let (index, first) = (task / groups, task % groups * group);
            let (start, count) = block(k, index);
            let columns = ((first + group) * NR).min(n) - first * NR;
            // SAFETY: the processor is asked above; panels of different tasks do not overlap and lie in `lines`, whose words
            // are as large as floats.
            unsafe {
                let words = target.at(index * WORDS * panels * NR + first * count.div_ceil(2) * NR);
                pack::<T, NR>(
                    view.transposed(),
                    [first * NR, columns],
                    [start, count],
                    words.0.cast(),
                );
            }
        };
        if k * n < PARALLEL {
            (0..blocks * groups).for_each(task);
        } else {
            (0..blocks * groups).into_par_iter().for_each(task);
        }
        Self { lines, k, n }
    }

    /// # Safety
    /// As for [`super::Right::write`], and the inner sizes agree.
    pub(super) unsafe fn write(&self, target: *mut f32, left: View, start: Start) {
        let (m, n, panels) = (left.rows, self.n, self.n.div_ceil(NR));
        if m == 0 || n == 0 {
            return;
        }
        let parallel = m * n * self.k >= PARALLEL;
        let wanted = if parallel {
            2 * rayon::current_num_threads()
        } else {
            1
        };
        // How rows and columns are cut does not change how an element is added up.
        let rows = m.div_ceil(wanted).next_multiple_of(MR).clamp(MR * 8, MC);
        let across = wanted
            .div_ceil(m.div_ceil(rows))
            .min(panels.div_ceil(PANELS))
            .max(1);
        let width = panels.div_ceil(across);
        let target = Shared(target);
        let task = |task: usize| {
            let (row, panel) = (task / across * rows, task % across * width);
            let part = Part {
                rows: [row, rows.min(m - row)],
                panels: [panel, panels.min(panel + width)],
            };
            // SAFETY: the parts lie in the target and do not overlap; a `Packed` is only made where the processor has what
            // is needed.
            unsafe { self.part(target, left, start, part) };
        };
        let tasks = m.div_ceil(rows) * across;
        if parallel {
            (0..tasks).into_par_iter().for_each(task);
        } else {
            (0..tasks).for_each(task);
        }
    }

    /// One task's part of the product.
    ///
    /// # Safety
    /// As [`write`](Self::write), and the processor has what is [needed](available).
    unsafe fn part(&self, target: Shared, left: View, start: Start, part: Part) {
        let Part {
            rows: [row, rows],
            panels: [first, end],
        } = part;
        let (n, panels) = (self.n, self.n.div_ceil(NR));
        let mut lines = sized(LEFT.take(), rows.next_multiple_of(16) * WORDS);
        // With nothing to add up there still is a start to write.
        for index in 0..self.k.div_ceil(KC).max(1) {
            let (begin, count) = block(self.k, index);
            let words = count.div_ceil(2);
            let packed: *mut u32 = lines.as_mut_ptr().cast();
            // SAFETY: there is room for the rows' panels; all tiles lie in the target, which has n columns.
            unsafe {
                pack::<f32, MR>(left, [row, rows], [begin, count], packed);
                let right: *const u32 = self.lines.as_ptr().cast();
                let right = right.add(index * WORDS * panels * NR);
                for panel in first..end {
                    let columns = NR.min(n - panel * NR);
                    let start = match start {
                        Start::Bias([]) if index == 0 => Initial::Zero,
                        Start::Bias(bias) if index == 0 => Initial::Bias(bias[panel * NR..].as_ptr()),
                        _ => Initial::Target,
                    };
                    for tile in 0..rows.div_ceil(MR) {
                        let tile = Tile {
                            words,
                            left: packed.add(tile * words * MR),
                            right: right.add(panel * words * NR),
                            target: target.at((row + tile * MR) * n + panel * NR).0,
                            stride: n,
                            rows: MR.min(rows - tile * MR),
                            columns,
                            start,
                        };
                        match columns.div_ceil(16) {
                            3 => tile.run::<3>(),
                            2 => tile.run::<2>(),
                            _ => tile.run::<1>(),
                        }
                    }
                }
            }
        }
        LEFT.set(lines);
    }
}

/// What a task writes: rows `[first, count]` and panels `[first, end]`.
#[derive(Clone, Copy)]
struct Part {
    rows: [usize; 2],
    panels: [usize; 2],
}

/// What a tile's sums are added to.
#[derive(Clone, Copy)]
enum Initial {
    Zero,
    Target,
    /// One value for each column.
    Bias(*const f32),
}

/// Up to [`MR`] rows and [`NR`] columns of the target.
struct Tile {
    words: usize,
    left: *const u32,
    right: *const u32,
    target: *mut f32,
    stride: usize,
    rows: usize,
    columns: usize,
    start: Initial,
}

impl Tile {
    /// Adds up, `N` registers of columns wide.
    ///
    /// # Safety
    /// Pointers lead to as many values as the sizes say, panels being whole, and the processor has what is [needed](available).
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    #[allow(clippy::needless_range_loop)] // An index runs over registers and memory.
    unsafe fn run<const N: usize>(self) {
        // SAFETY: the caller's promise; lanes beyond the last column are masked.
        unsafe {
            let mut sums = [[_mm512_setzero_ps(); N]; MR];
            for word in 0..self.words {
                let (left, right) = (self.left.add(word * MR), self.right.add(word * NR));
                let right: [_; N] = std::array::from_fn(|j| _mm512_loadu_si512(right.add(16 * j).cast()));
                for i in 0..MR {
                    let left = _mm512_set1_epi32((*left.add(i)).cast_signed());
                    for j in 0..N {
                        sums[i][j] = _mm512_dpbf16_ps(
                            sums[i][j],
                            std::mem::transmute::<std::arch::x86_64::__m512i, std::arch::x86_64::__m512bh>(
                                left,
                            ),
                            std::mem::transmute::<std::arch::x86_64::__m512i, std::arch::x86_64::__m512bh>(
                                right[j],
                            ),
                        );
                    }
                }
            }
            for i in 0..MR {
                if i < self.rows {
                    for j in 0..N {
                        let mask = lanes(self.columns - 16 * j);
                        let target = self.target.add(i * self.stride + 16 * j);
                        let start = match self.start {
                            Initial::Zero => _mm512_setzero_ps(),
                            Initial::Target => _mm512_maskz_loadu_ps(mask, target),
                            Initial::Bias(bias) => _mm512_maskz_loadu_ps(mask, bias.add(16 * j)),
                        };
                        _mm512_mask_storeu_ps(target, mask, _mm512_add_ps(sums[i][j], start));
                    }
                }
            }
        }
    }
}
