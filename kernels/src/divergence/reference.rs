//! The operation composed of burn's.

use burn::tensor::activation::log_softmax;
use burn::tensor::{IndexingUpdateOp, Int, Tensor};

use super::{Counts, Divergence, Found, Labels, Settings, Teacher};
use crate::product::Products;
use crate::projection::{Backward, Projection};

/// Log-probabilities of a row's outcomes: tokens, or the teacher's likeliest and all others together.
struct Outcomes {
    teacher_co: Tensor<2>,
    student_co: Tensor<2>,
}

/// The divergence at every row, the labels' likelihoods and, where they are wanted, the weighted sum's gradients.
pub(super) fn values(
    student: &Projection,
    teacher: &Teacher,
    settings: Settings,
    weights_n: &Tensor<1>,
    labels: Option<&Labels>,
) -> Found {
    let [n, v] = student.dims();
    let (mut values, mut nlls) = (Vec::new(), Vec::new());
    let mut by = settings.gradients.then(|| Backward::new(student, Products::Full));
    for (start, rows) in student.chunks() {
        let log_q_cv = log_softmax(
            student.logits(start, rows, Products::Full) / settings.temperature,
            1,
        );
        let labelled = labels.map(|labels| labels.chunk(&log_q_cv, start, rows));
        let (nll_c, by_labels_cv) = labelled.unzip();
        nlls.extend(nll_c);
        let outcomes = match teacher {
            Teacher::Dense(teacher) => Outcomes {
                teacher_co: log_softmax(
                    teacher.logits(start, rows, Products::Full).cast(log_q_cv.dtype()) / settings.temperature,
                    1,
                ),
                student_co: log_q_cv.clone(),
            },
            Teacher::TopK {
                ids_nk,
                log_p_nk,
                log_tail_n,
            } => {
                let ids_ck = ids_nk.clone().narrow(0, start, rows);
                let log_p_ck = log_p_nk.clone().narrow(0, start, rows).cast(log_q_cv.dtype());
                let tail_c1 = log_tail_n.clone().narrow(0, start, rows).cast(log_q_cv.dtype());
                let mut outcomes = Outcomes {
                    student_co: log_q_cv.clone().gather(1, ids_ck.clone()),
                    teacher_co: log_p_ck,
                };
                if ids_ck.dims()[1] < v {
                    let log_tail_c1 = log_total(without(log_q_cv.clone(), ids_ck));
                    let tail_c1 = tail_c1.unsqueeze_dim::<2>(1);
                    outcomes.student_co = Tensor::cat(vec![outcomes.student_co, log_tail_c1], 1);
                    outcomes.teacher_co = Tensor::cat(vec![outcomes.teacher_co, tail_c1], 1);
                }
                outcomes
            }
        };
        let last = outcomes.student_co.dims()[1] - 1;
        let log_tail_c1 = outcomes.student_co.clone().slice([0..rows, last..last + 1]);
        let q_co = outcomes.student_co.clone().exp();
        let (terms_co, slopes_co) = terms(outcomes, settings.divergence);
        values.push(terms_co.sum_dim(1).squeeze_dim::<1>(1));
        by = by.map(|by| {
            let along_c1 = slopes_co.clone().sum_dim(1);
            let by_outcomes_co = slopes_co - q_co * along_c1;
            let by_logits_cv = match teacher {
                Teacher::Dense(_) => by_outcomes_co,
                Teacher::TopK { ids_nk, .. } => {
                    let ids_ck = ids_nk.clone().narrow(0, start, rows);
                    spread(log_q_cv, by_outcomes_co, log_tail_c1, ids_ck)
                }
            };
            let weight_c1 = weights_n.clone().narrow(0, start, rows).unsqueeze_dim::<2>(1);
            let by_logits_cv = by_logits_cv * (weight_c1 / settings.temperature);
            match by_labels_cv {
                Some(by_labels_cv) => by.add(start, &(by_logits_cv + by_labels_cv)),
                None => by.add(start, &by_logits_cv),
            }
        });
    }
    let all = |parts: Vec<Tensor<1>>| {
        if parts.is_empty() {
            Tensor::zeros([0], (&weights_n.device(), weights_n.dtype()))
        } else {
            Tensor::cat(parts, 0)
        }
    };
    Found {
        value_n: if n == 0 {
            weights_n.zeros_like()
        } else {
            all(values)
        },
        nll_n: all(nlls),
        by: by.map(Backward::finish),
    }
}

impl Labels {
    /// Negative log-likelihoods of a chunk's labels, and their weighted sum's gradient by the logits.
    fn chunk(&self, log_q_cv: &Tensor<2>, start: usize, rows: usize) -> (Tensor<1>, Tensor<2>) {
        let target_c1 = self
            .targets_n
            .clone()
            .narrow(0, start, rows)
            .unsqueeze_dim::<2>(1);
        let nll_c = log_q_cv
            .clone()
            .gather(1, target_c1.clone())
            .neg()
            .squeeze_dim::<1>(1);
        let weight_c = match &self.counts {
            Counts::Known(weights_n) => weights_n.clone().narrow(0, start, rows),
            Counts::Of(loss) => loss.counts(start, nll_c.clone()),
        };
        let weight_c1 = weight_c.unsqueeze_dim::<2>(1);
        let by_cv = log_q_cv.clone().exp() * weight_c1.clone();
        let by_cv = by_cv.scatter(1, target_c1, weight_c1.neg(), IndexingUpdateOp::Add);
        (nll_c, by_cv)
    }
}

/// The logarithm of the sum of each row's exponentials.
fn log_total(x_cv: Tensor<2>) -> Tensor<2> {
    let max_c1 = x_cv.clone().max_dim(1);
    (x_cv - max_c1.clone()).exp().sum_dim(1).log() + max_c1
}

/// `log_q_cv` with the chosen tokens at minus infinity.
fn without(log_q_cv: Tensor<2>, ids_ck: Tensor<2, Int>) -> Tensor<2> {
    let chosen_cv = log_q_cv.zeros_like().scatter(
        1,
        ids_ck.clone(),
        Tensor::ones(ids_ck.dims(), (&log_q_cv.device(), log_q_cv.dtype())),
        IndexingUpdateOp::Add,
    );
    log_q_cv.mask_fill(chosen_cv.greater_elem(0.0), f64::NEG_INFINITY)
}

/// Gradients by the logits from those by the outcomes: the tail's goes to its tokens by their shares in it.
fn spread(
    log_q_cv: Tensor<2>,
    by_outcomes_co: Tensor<2>,
    log_tail_c1: Tensor<2>,
    ids_ck: Tensor<2, Int>,
) -> Tensor<2> {
    let [rows, k] = ids_ck.dims();
    let by_top_ck = by_outcomes_co.clone().narrow(1, 0, k);
    let by_tail_cv = if by_outcomes_co.dims()[1] == k {
        log_q_cv.zeros_like()
    } else {
        let empty_c1 = log_tail_c1.clone().equal_elem(f64::NEG_INFINITY);
        let shares_cv = (without(log_q_cv, ids_ck.clone()) - log_tail_c1.mask_fill(empty_c1, 0.0)).exp();
        shares_cv * by_outcomes_co.slice([0..rows, k..k + 1])
    };
    by_tail_cv.scatter(1, ids_ck, by_top_ck, IndexingUpdateOp::Add)
}

/// Each outcome's part `f` of the divergence, and `q·∂f/∂q` up to a multiple of `q`, which the softmax takes out again.
/// What has no probability contributes nothing, whatever its logarithm.
fn terms(outcomes: Outcomes, divergence: Divergence) -> (Tensor<2>, Tensor<2>) {
    let Outcomes {
        teacher_co: t,
        student_co: s,
    } = outcomes;
    let (p, q) = (t.clone().exp(), s.clone().exp());
    let weigh = |weight: &Tensor<2>, x: Tensor<2>| {
        (weight.clone() * x).mask_fill(weight.clone().equal_elem(0.0), 0.0)
    };
    let mixture = |a: f64| p.clone() * a + q.clone() * (1.0 - a);
    match divergence {
        Divergence::SoftCrossEntropy => (weigh(&p, s.neg()), p.neg()),
        Divergence::ForwardKl => (weigh(&p, t - s), p.neg()),
        Divergence::ReverseKl => {
            let terms = weigh(&q, s - t);
            (terms.clone(), terms)
        }
        Divergence::JensenShannon { beta } => {
            let log_m = mixture(beta).log();
            let slopes = weigh(&q, s - log_m.clone()) * (1.0 - beta);
            (weigh(&p, t - log_m) * beta + slopes.clone(), slopes)
        }
        Divergence::SkewForwardKl { skew } => {
            let m = mixture(skew);
            let slopes = weigh(&q, p.clone() / m.clone()) * (skew - 1.0);
            (weigh(&p, t - m.log()), slopes)
        }
        Divergence::SkewReverseKl { skew } => {
            let m = mixture(1.0 - skew);
            let log_ratio = s - m.clone().log();
            let slopes = weigh(&q, log_ratio.clone() - q.clone() / m * skew);
            (weigh(&q, log_ratio), slopes)
        }
        Divergence::TotalVariation => {
            let difference = q.clone() - p;
            (difference.clone().abs() * 0.5, q * difference.sign() * 0.5)
        }
    }
}
