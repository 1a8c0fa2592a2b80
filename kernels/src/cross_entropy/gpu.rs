//! A GPU's own body for products in bfloat16: logits are bfloat16 as the products leave them, of a head with rows of zeros
//! below it, so that every product reads and writes whole vectors whatever the vocabulary's size.

use burn::tensor::{DType, Int, Tensor};

use super::Gradients;
use crate::cube;
use crate::product::Products;
use crate::projection::{Projection, tiles};

/// The head's rows are filled up to a multiple of this.
const COLUMNS: usize = 64;

/// Logits held at once, in elements (256 MiB).
const CHUNK_ELEMENTS: usize = 1 << 27;

/// Rows of a chunk are a multiple of this.
const ROWS: usize = 128;

/// Whether the body takes a call.
pub(super) fn takes(hidden_nd: &Tensor<2>, bias_v: Option<&Tensor<1>>, products: Products) -> bool {
    products == Products::Bf16 && bias_v.is_none() && cube::takes(hidden_nd)
}

/// The head in bfloat16 with its rows of zeros, `[p, d]`.
fn padded(head_vd: Tensor<2>) -> Tensor<2> {
    let [v, d] = head_vd.dims();
    let head_vd = head_vd.cast(DType::BF16);
    let more = v.next_multiple_of(COLUMNS) - v;
    if more == 0 {
        return head_vd;
    }
    let zeros = Tensor::zeros([more, d], (&head_vd.device(), DType::BF16));
    Tensor::cat(vec![head_vd, zeros], 0)
}

/// Ranges `(start, rows)` that tile `n` rows of `p` logits.
fn chunks(n: usize, p: usize) -> impl Iterator<Item = (usize, usize)> {
    tiles(n, (CHUNK_ELEMENTS / p / ROWS).max(1) * ROWS)
}

/// [`super::gradients`].
pub(super) fn gradients(
    hidden_nd: Tensor<2>,
    head_vd: Tensor<2>,
    targets_n: Tensor<1, Int>,
    weights_n: Tensor<1>,
) -> Gradients {
    let ([n, _], v) = (hidden_nd.dims(), head_vd.dims()[0]);
    let (dtype, head_dtype) = (hidden_nd.dtype(), head_vd.dtype());
    let (x_nd, head_pd) = (hidden_nd.cast(DType::BF16), padded(head_vd));
    let (mut nll, mut by_x, mut by_head_pd) = (Vec::new(), Vec::new(), None);
    for (start, rows) in chunks(n, head_pd.dims()[0]) {
        let x_cd = x_nd.clone().narrow(0, start, rows);
        let logits_cp = cube::product(x_cd.clone(), head_pd.clone().transpose());
        let (nll_c, by_logits_cp) = cube::likelihoods(
            logits_cp,
            targets_n.clone().narrow(0, start, rows),
            weights_n.clone().narrow(0, start, rows),
            v,
        );
        nll.push(nll_c);
        by_x.push(cube::product_as(by_logits_cp.clone(), head_pd.clone(), dtype));
        let part_pd = cube::product_as(by_logits_cp.transpose(), x_cd, head_dtype);
        by_head_pd = Some(match by_head_pd {
            Some(sum_pd) => sum_pd + part_pd,
            None => part_pd,
        });
    }
    let by_head_pd = by_head_pd.unwrap_or_else(|| head_pd.zeros_like().cast(head_dtype));
    Gradients {
        nll_n: Tensor::cat(nll, 0),
        by: Projection {
            hidden_nd: Tensor::cat(by_x, 0),
            head_vd: by_head_pd.narrow(0, 0, v),
            bias_v: None,
        },
    }
}

/// [`super::linear_nll`].
pub(super) fn nll(hidden_nd: Tensor<2>, head_vd: Tensor<2>, targets_n: Tensor<1, Int>) -> Tensor<1> {
    let ([n, _], v) = (hidden_nd.dims(), head_vd.dims()[0]);
    let (x_nd, head_pd) = (hidden_nd.cast(DType::BF16), padded(head_vd));
    let part = |(start, rows)| {
        let logits_cp = x_nd
            .clone()
            .narrow(0, start, rows)
            .matmul(head_pd.clone().transpose());
        cube::nll(logits_cp, targets_n.clone().narrow(0, start, rows), v)
    };
    Tensor::cat(chunks(n, head_pd.dims()[0]).map(part).collect(), 0)
}
