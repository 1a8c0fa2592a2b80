//! The fused bodies, for dense teachers and for top-k ones.

// See `simd`.
#![allow(clippy::inline_always)]

use burn::tensor::Shape;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::{Divergence, Settings};
use crate::flex;
use crate::linear::add_rows;
use crate::matrix::View;
use crate::product::{Factor, Products, Right};
use crate::projection::{chunk_rows, chunks, indices, task_rows};
use crate::simd::{LANES, exp, ln, log_sum_exp, sum_lanes, vectorised};

/// Values and the gradients of hidden states, head and bias (empty where none are wanted).
type Results = (FlexTensor, FlexTensor, FlexTensor, FlexTensor);

/// Hidden states, head and bias, contiguous.
struct Operands {
    hidden: FlexTensor,
    head: FlexTensor,
    bias: FlexTensor,
}

impl Operands {
    fn new(tensors: [&FlexTensor; 3]) -> Self {
        let [hidden, head, bias] = tensors.map(FlexTensor::to_contiguous);
        Self { hidden, head, bias }
    }

    /// Rows, vocabulary and width.
    fn dims(&self) -> [usize; 3] {
        let ([n, d], [v, _]) = (flex::dims(&self.hidden), flex::dims(&self.head));
        [n, v, d]
    }

    fn head(&self) -> View<'_> {
        let [_, v, d] = self.dims();
        View::new(self.head.storage(), v, d, d)
    }

    fn rows(&self, start: usize, rows: usize) -> View<'_> {
        let d = self.dims()[2];
        View::new(&self.hidden.storage::<f32>()[start * d..], rows, d, d)
    }

    /// Logits without bias.
    fn product(&self, logits: &mut [f32], start: usize, rows: usize) {
        let head_dv = Right::new(Factor::F32(self.head().transposed()), Products::Full);
        head_dv.multiply_into(logits, self.rows(start, rows), &[]);
    }
}

/// What a row's kernel is told.
#[derive(Clone, Copy)]
struct Row<'a> {
    divergence: Divergence,
    /// One over the temperature.
    scale: f32,
    bias: &'a [f32],
    /// Where a gradient is wanted, which then takes the logits' place.
    weight: Option<f32>,
}

/// Chunk by chunk: the student's logits, then `work` on a chunk, whose first row is `start`, then the gradients.
fn run(student: &Operands, gradients: bool, mut work: impl FnMut(&mut [f32], &mut [f32], usize)) -> Results {
    let [n, v, d] = student.dims();
    let biased = flex::dims::<1>(&student.bias)[0];
    let [by_rows, by_outputs, by_biases] = if gradients { [n, v, biased] } else { [0; 3] };
    let (mut by_hidden, mut by_head) = (vec![0.0; by_rows * d], vec![0.0; by_outputs * d]);
    let (mut values, mut by_bias) = (vec![0.0; n], vec![0.0; by_biases]);
    let mut logits = vec![0.0; chunk_rows(v).min(n) * v];
    for (start, rows) in chunks(n, v) {
        let logits = &mut logits[..rows * v];
        student.product(logits, start, rows);
        work(&mut values[start..start + rows], logits, start);
        if gradients {
            if biased > 0 {
                add_rows(&mut by_bias, logits);
            }
            let by_logits = View::new(logits, rows, v, v);
            let by_hidden = &mut by_hidden[start * d..(start + rows) * d];
            Right::new(Factor::F32(student.head()), Products::Full).multiply_into(by_hidden, by_logits, &[]);
            let x = Right::new(Factor::F32(student.rows(start, rows)), Products::Full);
            x.multiply_add(&mut by_head, by_logits.transposed());
        }
    }
    (
        flex::tensor(values, Shape::new([n])),
        flex::tensor(by_hidden, Shape::new([by_rows, d])),
        flex::tensor(by_head, Shape::new([by_outputs, d])),
        flex::tensor(by_bias, Shape::new([by_biases])),
    )
}

/// The fused body for a teacher's hidden states, head and bias.
pub(crate) fn flex_dense(
    student: [&FlexTensor; 3],
    weights: &FlexTensor,
    teacher: [&FlexTensor; 3],
    settings: Settings,
) -> Results {
    let (student, teacher) = (Operands::new(student), Operands::new(teacher));
    let [n, v, _] = student.dims();
    assert_eq!(
        teacher.dims()[..2],
        [n, v],
        "teacher and student agree in rows and vocabulary"
    );
    let weights = weights.to_contiguous();
    let (weights, row) = (weights.storage::<f32>(), settings.row(&student));
    let mut teacher_logits = vec![0.0; chunk_rows(v).min(n) * v];
    let tasks = task_rows(v);
    run(&student, settings.gradients, |values, logits, start| {
        let rows = values.len();
        let teacher_logits = &mut teacher_logits[..rows * v];
        teacher.product(teacher_logits, start, rows);
        values
            .par_chunks_mut(tasks)
            .zip(logits.par_chunks_mut(tasks * v))
            .zip(teacher_logits.par_chunks_mut(tasks * v))
            .zip(weights[start..][..rows].par_chunks(tasks))
            .for_each(|(((values, logits), teacher_logits), weights)| {
                let rows = logits.chunks_exact_mut(v).zip(teacher_logits.chunks_exact_mut(v));
                for ((value, (x, y)), weight) in values.iter_mut().zip(rows).zip(weights) {
                    *value = dense(x, y, row.weighted(*weight), teacher.bias.storage());
                }
            });
    })
}

/// The fused body for a teacher's likeliest tokens.
pub(crate) fn flex_top_k(
    student: [&FlexTensor; 3],
    weights: &FlexTensor,
    ids: &FlexTensor,
    [log_p, log_tail]: [&FlexTensor; 2],
    settings: Settings,
) -> Results {
    let student = Operands::new(student);
    let ([n, v, _], [_, k]) = (student.dims(), flex::dims(ids));
    let ids = indices(ids, v);
    let [weights, log_p, log_tail] = [weights, log_p, log_tail].map(FlexTensor::to_contiguous);
    let [weights, log_p, log_tail] = [&weights, &log_p, &log_tail].map(FlexTensor::storage::<f32>);
    assert_eq!(
        [ids.len(), log_p.len(), log_tail.len()],
        [n * k, n * k, n],
        "a teacher's rows are the student's"
    );
    let row = settings.row(&student);
    let tasks = task_rows(v);
    run(&student, settings.gradients, |values, logits, start| {
        values
            .par_chunks_mut(tasks)
            .zip(logits.par_chunks_mut(tasks * v))
            .enumerate()
            .for_each(|(task, (values, logits))| {
                let (mut s, mut t) = (Vec::with_capacity(k + 1), Vec::with_capacity(k + 1));
                for (i, (value, x)) in values.iter_mut().zip(logits.chunks_exact_mut(v)).enumerate() {
                    let n = start + task * tasks + i;
                    let ids = &ids[n * k..(n + 1) * k];
                    t.clear();
                    t.extend_from_slice(&log_p[n * k..(n + 1) * k]);
                    if k < v {
                        t.push(log_tail[n]);
                    }
                    *value = top_k(x, row.weighted(weights[n]), ids, &mut s, &mut t);
                }
            });
    })
}

impl Settings {
    fn row(self, student: &Operands) -> Row<'_> {
        Row {
            divergence: self.divergence,
            scale: (1.0 / self.temperature) as f32,
            bias: student.bias.storage(),
            weight: self.gradients.then_some(1.0),
        }
    }
}

impl Row<'_> {
    /// The same with a row's weight, if gradients are wanted.
    fn weighted(self, weight: f32) -> Self {
        let weight = self.weight.map(|_| weight);
        Self { weight, ..self }
    }
}

vectorised! {
    /// The divergence between two rows of logits, whose place is used.
    fn dense<FMA>(x: &mut [f32], y: &mut [f32], row: Row<'_>, teacher_bias: &[f32]) -> f32 {
        log_softmax::<FMA>(x, row.bias, row.scale);
        log_softmax::<FMA>(y, teacher_bias, row.scale);
        let (value, along) = compare::<FMA>(row.divergence, x, y);
        if let Some(weight) = row.weight {
            let scale = weight * row.scale;
            for (x, q) in x.iter_mut().zip(y.iter()) {
                *x = scale * (*x - along * *q);
            }
        }
        value
    }
}

vectorised! {
    /// The divergence between a row of logits, whose place is used, and log-probabilities `t` of the teacher's outcomes:
    /// `ids` and, unless they are all, the rest; `s` is room.
    fn top_k<FMA>(x: &mut [f32], row: Row<'_>, ids: &[usize], s: &mut Vec<f32>, t: &mut [f32]) -> f32 {
        log_softmax::<FMA>(x, row.bias, row.scale);
        s.clear();
        s.extend(ids.iter().map(|id| x[*id]));
        for id in ids {
            x[*id] = f32::NEG_INFINITY;
        }
        let (max, log_sum) = log_sum_exp::<FMA>(x);
        let log_tail = max + log_sum;
        if t.len() > ids.len() {
            s.push(log_tail);
        }
        let (value, along) = compare::<FMA>(row.divergence, s, t);
        if let Some(weight) = row.weight {
            let scale = weight * row.scale;
            if t.len() > ids.len() {
                // The tail's gradient goes to its tokens by their shares in it.
                let by_tail = scale * (s[ids.len()] - along * t[ids.len()]);
                for value in x.iter_mut() {
                    *value = by_tail * probability::<FMA>(*value - log_tail);
                }
            }
            for (id, (slope, q)) in ids.iter().zip(s.iter().zip(t.iter())) {
                x[*id] = scale * (slope - along * q);
            }
        }
        value
    }
}

/// `(x + bias) · scale` less the logarithm of the sum of its exponentials.
#[inline(always)]
fn log_softmax<const FMA: bool>(x: &mut [f32], bias: &[f32], scale: f32) {
    for (value, bias) in x.iter_mut().zip(bias) {
        *value += bias;
    }
    if scale != 1.0 {
        for value in x.iter_mut() {
            *value *= scale;
        }
    }
    let (max, log_sum) = log_sum_exp::<FMA>(x);
    for value in x.iter_mut() {
        *value = (*value - max) - log_sum;
    }
}

/// `e^x`, and zero below what [`exp`] tells apart.
#[inline(always)]
fn probability<const FMA: bool>(log: f32) -> f32 {
    if log < -87.0 { 0.0 } else { exp::<FMA>(log) }
}

/// `weight · x`; what has no weight contributes nothing, whatever `x`.
#[inline(always)]
fn weigh(weight: f32, x: f32) -> f32 {
    if weight == 0.0 { 0.0 } else { weight * x }
}

/// The divergence between the distributions with logarithms `s` (student) and `t` (teacher), which are replaced by the
/// slopes `q·∂f/∂q` (up to a multiple of `q`, see the reference) and by `q`; and the sum of the slopes.
#[inline(always)]
fn compare<const FMA: bool>(divergence: Divergence, s: &mut [f32], t: &mut [f32]) -> (f32, f32) {
    match divergence {
        Divergence::SoftCrossEntropy => each::<FMA>(s, t, |p, _, _, s| (weigh(p, -s), -p)),
        Divergence::ForwardKl => each::<FMA>(s, t, |p, _, t, s| (weigh(p, t - s), -p)),
        Divergence::ReverseKl => each::<FMA>(s, t, |_, q, t, s| {
            let term = weigh(q, s - t);
            (term, term)
        }),
        Divergence::JensenShannon { beta } => {
            let (a, b) = (beta as f32, (1.0 - beta) as f32);
            each::<FMA>(s, t, |p, q, t, s| {
                let log_m = ln::<FMA>(a * p + b * q);
                let slope = b * weigh(q, s - log_m);
                (a * weigh(p, t - log_m) + slope, slope)
            })
        }
        Divergence::SkewForwardKl { skew } => {
            let (a, b) = (skew as f32, (1.0 - skew) as f32);
            each::<FMA>(s, t, |p, q, t, _| {
                let m = a * p + b * q;
                (weigh(p, t - ln::<FMA>(m)), -b * weigh(q, p / m))
            })
        }
        Divergence::SkewReverseKl { skew } => {
            let (a, b) = (skew as f32, (1.0 - skew) as f32);
            each::<FMA>(s, t, |p, q, _, s| {
                let m = b * p + a * q;
                let log_ratio = s - ln::<FMA>(m);
                (weigh(q, log_ratio), weigh(q, log_ratio - a * q / m))
            })
        }
        Divergence::TotalVariation => each::<FMA>(s, t, |p, q, _, _| {
            let difference = q - p;
            let sign = if difference > 0.0 {
                0.5
            } else if difference < 0.0 {
                -0.5
            } else {
                0.0
            };
            (0.5 * difference.abs(), q * sign)
        }),
    }
}

/// Sums both results of `f(p, q, log p, log q)`, lane by lane; the second takes the place of `s`, `q` that of `t`.
#[inline(always)]
fn each<const FMA: bool>(
    s: &mut [f32],
    t: &mut [f32],
    f: impl Fn(f32, f32, f32, f32) -> (f32, f32),
) -> (f32, f32) {
    let (mut terms, mut slopes) = ([0.0; LANES], [0.0; LANES]);
    let mut step = |lane: usize, s: &mut f32, t: &mut f32| {
        let (p, q) = (probability::<FMA>(*t), probability::<FMA>(*s));
        let (term, slope) = f(p, q, *t, *s);
        terms[lane] += term;
        slopes[lane] += slope;
        (*s, *t) = (slope, q);
    };
    let (mut s_chunks, mut t_chunks) = (s.chunks_exact_mut(LANES), t.chunks_exact_mut(LANES));
    for (s, t) in s_chunks.by_ref().zip(t_chunks.by_ref()) {
        for lane in 0..LANES {
            step(lane, &mut s[lane], &mut t[lane]);
        }
    }
    let rest = s_chunks
        .into_remainder()
        .iter_mut()
        .zip(t_chunks.into_remainder());
    for (lane, (s, t)) in rest.enumerate() {
        step(lane, s, t);
    }
    (sum_lanes(terms), sum_lanes(slopes))
}
