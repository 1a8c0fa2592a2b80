//! The fused bodies, for dense teachers and for top-k ones.

// See `simd`.
#![allow(clippy::inline_always)]

use burn::tensor::Shape;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::compare::{compare, log_softmax, probability};
use super::{Divergence, OfLikelihood, Settings};
use crate::flex;
use crate::linear::add_rows;
use crate::matrix::View;
use crate::product::{Factor, Products, Right};
use crate::projection::{chunk_rows, chunks, indices, task_rows};
use crate::simd::{log_sum_exp, vectorised};

/// Values, the labels' negative log-likelihoods (empty where there are none), and the gradients of hidden states, head and
/// bias (empty where none are wanted).
type Results = (FlexTensor, FlexTensor, FlexTensor, FlexTensor, FlexTensor);

/// Labels and what they count; none at all, or one a row.
pub(crate) struct FlexLabels {
    targets: Vec<usize>,
    weights: FlexTensor,
    /// Says what they count, in the weights' place.
    of: Option<OfLikelihood>,
}

/// A row's label.
#[derive(Clone, Copy)]
struct Label<'a> {
    row: usize,
    target: usize,
    weight: f32,
    of: Option<&'a OfLikelihood>,
}

impl Label<'_> {
    /// What its negative log-likelihood counts.
    fn counts(&self, nll: f32) -> f32 {
        let of = |of: &OfLikelihood| of.count(self.row, f64::from(-nll)) as f32;
        self.of.map_or(self.weight, of)
    }
}

impl FlexLabels {
    /// `targets` lie in the vocabulary of `head`.
    pub(crate) fn new(
        targets: &FlexTensor,
        weights: &FlexTensor,
        of: Option<OfLikelihood>,
        head: &FlexTensor,
    ) -> Self {
        let [v, _] = flex::dims(head);
        Self {
            targets: indices(targets, v),
            weights: weights.to_contiguous(),
            of,
        }
    }

    /// The label of row `n`.
    fn get(&self, n: usize) -> Option<Label<'_>> {
        Some(Label {
            row: n,
            target: *self.targets.get(n)?,
            weight: self.weights.storage::<f32>().get(n).copied().unwrap_or_default(),
            of: self.of.as_ref(),
        })
    }
}

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
    /// A token whose negative log-likelihood counts too; the temperature is 1 then.
    label: Option<Label<'a>>,
}

/// Chunk by chunk: the student's logits, then `work` on a chunk, whose first row is `start`, then the gradients.
fn run(
    student: &Operands,
    labels: &FlexLabels,
    gradients: bool,
    mut work: impl FnMut(&mut [[f32; 2]], &mut [f32], usize),
) -> Results {
    let [n, v, d] = student.dims();
    let biased = flex::dims::<1>(&student.bias)[0];
    let [by_rows, by_outputs, by_biases] = if gradients { [n, v, biased] } else { [0; 3] };
    let (mut by_hidden, mut by_head) = (vec![0.0; by_rows * d], vec![0.0; by_outputs * d]);
    let (mut values, mut by_bias) = (vec![[0.0; 2]; n], vec![0.0; by_biases]);
    let mut logits = vec![0.0; chunk_rows([v, d]).min(n) * v];
    for (start, rows) in chunks(n, [v, d]) {
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
    let labelled = labels.targets.len();
    let nll = values[..labelled].iter().map(|[_, nll]| *nll).collect();
    (
        flex::tensor(values.iter().map(|[value, _]| *value).collect(), Shape::new([n])),
        flex::tensor(nll, Shape::new([labelled])),
        flex::tensor(by_hidden, Shape::new([by_rows, d])),
        flex::tensor(by_head, Shape::new([by_outputs, d])),
        flex::tensor(by_bias, Shape::new([by_biases])),
    )
}

/// The fused body for a teacher's hidden states, head and bias.
pub(crate) fn flex_dense(
    student: [&FlexTensor; 3],
    weights: &FlexTensor,
    labels: &FlexLabels,
    teacher: [&FlexTensor; 3],
    settings: Settings,
) -> Results {
    let (student, teacher) = (Operands::new(student), Operands::new(teacher));
    let [n, v, d] = student.dims();
    assert_eq!(
        teacher.dims()[..2],
        [n, v],
        "teacher and student agree in rows and vocabulary"
    );
    let weights = weights.to_contiguous();
    let (weights, row) = (weights.storage::<f32>(), settings.row(&student));
    let mut teacher_logits = vec![0.0; chunk_rows([v, d]).min(n) * v];
    let tasks = task_rows(v);
    run(&student, labels, settings.gradients, |values, logits, start| {
        let rows = values.len();
        let teacher_logits = &mut teacher_logits[..rows * v];
        teacher.product(teacher_logits, start, rows);
        values
            .par_chunks_mut(tasks)
            .zip(logits.par_chunks_mut(tasks * v))
            .zip(teacher_logits.par_chunks_mut(tasks * v))
            .enumerate()
            .for_each(|(task, ((values, logits), teacher_logits))| {
                let rows = logits.chunks_exact_mut(v).zip(teacher_logits.chunks_exact_mut(v));
                for (i, (value, (x, y))) in values.iter_mut().zip(rows).enumerate() {
                    let n = start + task * tasks + i;
                    let row = row.of(weights[n], labels.get(n));
                    *value = dense(x, y, row, teacher.bias.storage());
                }
            });
    })
}

/// The fused body for a teacher's likeliest tokens.
pub(crate) fn flex_top_k(
    student: [&FlexTensor; 3],
    weights: &FlexTensor,
    labels: &FlexLabels,
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
    run(&student, labels, settings.gradients, |values, logits, start| {
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
                    *value = top_k(x, row.of(weights[n], labels.get(n)), ids, &mut s, &mut t);
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
            label: None,
        }
    }
}

impl<'a> Row<'a> {
    /// The same with a row's weight, if gradients are wanted, and its label.
    fn of(self, weight: f32, label: Option<Label<'a>>) -> Self {
        let weight = self.weight.map(|_| weight);
        Self {
            weight,
            label,
            ..self
        }
    }

    /// The label's negative log-likelihood among log-probabilities.
    #[inline(always)]
    fn nll(&self, log_q: &[f32]) -> f32 {
        self.label.map_or(0.0, |label| -log_q[label.target])
    }
}

vectorised! {
    /// The divergence between two rows of logits, whose place is used, and the label's negative log-likelihood.
    fn dense<FMA>(x: &mut [f32], y: &mut [f32], row: Row<'_>, teacher_bias: &[f32]) -> [f32; 2] {
        log_softmax::<FMA>(x, row.bias, row.scale);
        log_softmax::<FMA>(y, teacher_bias, row.scale);
        let nll = row.nll(x);
        let (value, along) = compare::<FMA>(row.divergence, x, y);
        if let Some(weight) = row.weight {
            let scale = weight * row.scale;
            for (x, q) in x.iter_mut().zip(y.iter()) {
                *x = scale * (*x - along * *q);
            }
            if let Some(label) = row.label {
                let counts = label.counts(nll);
                for (x, q) in x.iter_mut().zip(y.iter()) {
                    *x += counts * *q;
                }
                x[label.target] -= counts;
            }
        }
        [value, nll]
    }
}

vectorised! {
    /// The divergence between a row of logits, whose place is used, and log-probabilities `t` of the teacher's outcomes:
    /// `ids` and, unless they are all, the rest; `s` is room. Beside it the label's negative log-likelihood.
    fn top_k<FMA>(x: &mut [f32], row: Row<'_>, ids: &[usize], s: &mut Vec<f32>, t: &mut [f32]) -> [f32; 2] {
        log_softmax::<FMA>(x, row.bias, row.scale);
        let nll = row.nll(x);
        let counts = row.label.map_or(0.0, |label| label.counts(nll));
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
                let by_label = counts * probability::<FMA>(log_tail);
                for value in x.iter_mut() {
                    *value = (by_tail + by_label) * probability::<FMA>(*value - log_tail);
                }
            }
            for (id, (slope, q)) in ids.iter().zip(s.iter().zip(t.iter())) {
                x[*id] = scale * (slope - along * q) + counts * q;
            }
            if let Some(label) = row.label {
                x[label.target] -= counts;
            }
        }
        [value, nll]
    }
}
