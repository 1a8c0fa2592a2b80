//! The likeliest tokens under an output head, in chunks of rows: logits of all rows are never held at once.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use burn::tensor::{Int, Tensor};
use rayon::prelude::*;

use crate::exp::exponentials;
use crate::linear::linear;
use crate::product::Products;
use crate::projection::{Projection, task_rows};
use crate::row_linear::Orientation;

/// The likeliest tokens of every row and what is left, on the host; row-major, in descending order, of equal ones the lower
/// id first.
#[derive(Debug, Clone, PartialEq)]
pub struct Likeliest {
    /// Tokens of a row.
    pub k: usize,
    /// Their ids, `[n, k]`.
    pub ids_nk: Vec<u32>,
    /// Their log-probabilities in nats, `[n, k]`.
    pub log_p_nk: Vec<f64>,
    /// Log-probability of all other tokens together, `[n]`; minus infinity where there are none.
    pub log_tail_n: Vec<f64>,
}

/// The `k` likeliest tokens (all, where there are fewer) under `softmax(logits / temperature)`, and the rest's probability,
/// which is summed by itself and so keeps its digits where it is small.
///
/// # Shapes
/// Those of [`Projection`]; the head may be bfloat16.
pub fn linear_likeliest(projection: Projection, k: usize, temperature: f64, products: Products) -> Likeliest {
    assert!(k > 0, "at least one token");
    assert!(temperature > 0.0, "a temperature is positive");
    let projection = projection.without_autodiff();
    let [n, v] = projection.dims();
    let k = k.min(v);
    let mut found = Likeliest {
        k,
        ids_nk: vec![0; n * k],
        log_p_nk: vec![0.0; n * k],
        log_tail_n: vec![0.0; n],
    };
    for (start, rows) in projection.chunks() {
        let logits = logits(&projection, start, rows, products)
            .into_data()
            .convert::<f64>();
        let logits = logits.as_slice::<f64>().expect("converted to f64");
        let (ids, log_p) = (start * k..(start + rows) * k, start * k..(start + rows) * k);
        let task = task_rows(v);
        found.ids_nk[ids]
            .par_chunks_mut(task * k)
            .zip(found.log_p_nk[log_p].par_chunks_mut(task * k))
            .zip(found.log_tail_n[start..start + rows].par_chunks_mut(task))
            .zip(logits.par_chunks(task * v))
            .for_each(|(((ids, log_p), log_tail), logits)| {
                let mut scratch = vec![0.0; v];
                let rows = ids.chunks_mut(k).zip(log_p.chunks_mut(k)).zip(log_tail);
                for (((ids, log_p), log_tail), logits) in rows.zip(logits.chunks(v)) {
                    *log_tail = row(logits, temperature, ids, log_p, &mut scratch);
                }
            });
    }
    found
}

/// The likeliest token of every row, of equal ones the lowest id; outside any graph.
///
/// # Shapes
/// Those of [`Projection`]; the result is `[n]`.
pub fn linear_argmax(projection: Projection, products: Products) -> Tensor<1, Int> {
    let projection = projection.without_autodiff();
    let chunks = projection.chunks().map(|(start, rows)| {
        logits(&projection, start, rows, products)
            .argmax(1)
            .squeeze_dim::<1>(1)
    });
    Tensor::cat(chunks.collect(), 0)
}

fn logits(projection: &Projection, start: usize, rows: usize, products: Products) -> Tensor<2> {
    let x_cd = projection.hidden_nd.clone().narrow(0, start, rows);
    let (head_vd, bias_v) = (projection.head_vd.clone(), projection.bias_v.clone());
    linear(x_cd, head_vd, Orientation::OutputsFirst, bias_v, products)
}

/// A token that may be among the likeliest; the least likely of them is the greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    logit: f64,
    id: u32,
}

impl Eq for Candidate {}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_logit = other.logit.total_cmp(&self.logit);
        by_logit.then(self.id.cmp(&other.id))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The likeliest tokens of a row, as many as there is room for; gives the log-probability of the others.
fn row(logits: &[f64], temperature: f64, ids: &mut [u32], log_p: &mut [f64], scratch: &mut [f64]) -> f64 {
    let mut heap = BinaryHeap::with_capacity(ids.len() + 1);
    for (id, &logit) in (0..).zip(logits) {
        let candidate = Candidate { logit, id };
        if heap.len() < ids.len() {
            heap.push(candidate);
        } else if heap.peek().is_some_and(|least| candidate < *least) {
            heap.pop();
            heap.push(candidate);
        }
    }
    let likeliest = heap.into_sorted_vec();
    let (first, last) = (likeliest[0], likeliest[likeliest.len() - 1]);
    for (scratch, logit) in scratch.iter_mut().zip(logits) {
        *scratch = (logit - first.logit) / temperature;
    }
    exponentials(scratch);
    let inside = |&(id, _): &(u32, f64)| {
        Candidate {
            logit: logits[id as usize],
            id,
        } <= last
    };
    let (mut top, mut tail) = (0.0, 0.0);
    for token in (0..).zip(scratch.iter().copied()) {
        *(if inside(&token) { &mut top } else { &mut tail }) += token.1;
    }
    let log_sum = (top + tail).ln();
    for ((id, log_p), token) in ids.iter_mut().zip(log_p).zip(&likeliest) {
        *id = token.id;
        *log_p = (token.logit - first.logit) / temperature - log_sum;
    }
    tail.ln() - log_sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, host, tensor, values};
    use burn::tensor::DType;

    fn projection(n: usize, v: usize, dtype: DType) -> Projection {
        let d = 5;
        Projection {
            hidden_nd: tensor(&values(1, n * d, 2.0), [n, d], dtype, false),
            head_vd: tensor(&values(2, v * d, 2.0), [v, d], dtype, false),
            bias_v: Some(tensor(&values(3, v, 1.0), [v], dtype, false)),
        }
    }

    /// Logits of `projection` on the host.
    fn all(projection: &Projection) -> Vec<f64> {
        let [n, _] = projection.dims();
        host(projection.logits(0, n, Products::Full))
    }

    #[test]
    fn probabilities_are_those_of_a_softmax_that_was_sorted() {
        let (n, v, k, temperature) = (70, 301, 9, 2.0);
        for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
            let projection = projection(n, v, dtype);
            let found = linear_likeliest(projection.clone(), k, temperature, Products::Full);
            let best = linear_argmax(projection.clone(), Products::Full).into_data();
            let best: Vec<i64> = best.iter::<i64>().collect();
            for (i, logits) in all(&projection).chunks(v).enumerate() {
                let log_sum = logits.iter().map(|z| (z / temperature).exp()).sum::<f64>().ln();
                let mut order: Vec<usize> = (0..v).collect();
                order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
                let of = |id: &usize| logits[*id] / temperature - log_sum;
                let expected: Vec<f64> = order[..k].iter().map(of).collect();
                assert_close("log p", &found.log_p_nk[i * k..(i + 1) * k], &expected, tolerance);
                let tail: f64 = order[k..].iter().map(|id| of(id).exp()).sum();
                assert_close("tail", &[found.log_tail_n[i].exp()], &[tail], tolerance);
                assert_eq!(best[i], i64::from(found.ids_nk[i * k]));
            }
        }
    }

    #[test]
    fn of_equal_tokens_the_lower_id_comes_first() {
        for dtype in [DType::F64, DType::F32] {
            // Two rows: all equal; the last two equal and likeliest.
            let logits = [0.0; 40].into_iter().chain((0..40).map(|i| f64::from(i.min(38))));
            let logits: Vec<f64> = logits.collect();
            let identity: Vec<f64> = (0..1600).map(|i| f64::from(i / 40 == i % 40)).collect();
            let projection = Projection {
                hidden_nd: tensor(&logits, [2, 40], dtype, false),
                head_vd: tensor(&identity, [40, 40], dtype, false),
                bias_v: None,
            };
            let found = linear_likeliest(projection.clone(), 3, 1.0, Products::Full);
            assert_eq!(found.ids_nk, [0, 1, 2, 38, 39, 37]);
            assert_close("tail", &[found.log_tail_n[0].exp()], &[37.0 / 40.0], 1e-12);
            let best = linear_argmax(projection, Products::Full).into_data();
            assert_eq!(best.iter::<i64>().collect::<Vec<_>>(), [0, 38]);
        }
    }

    #[test]
    fn small_tails_keep_their_digits_and_there_may_be_none() {
        let projection = Projection {
            hidden_nd: tensor(&[60.0, 0.0, 1.0], [1, 3], DType::F64, false),
            head_vd: tensor(
                &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
                [3, 3],
                DType::F64,
                false,
            ),
            bias_v: None,
        };
        let found = linear_likeliest(projection.clone(), 1, 1.0, Products::Full);
        let expected = 1.0_f64.exp().ln_1p() - 60.0;
        assert_close("tail", &found.log_tail_n, &[expected], 1e-12);
        let whole = linear_likeliest(projection, 7, 1.0, Products::Full);
        assert_eq!((whole.k, whole.log_tail_n), (3, vec![f64::NEG_INFINITY]));
    }
}
