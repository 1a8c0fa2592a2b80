//! What operations through an output head share: rows are handled in chunks, so that logits of all rows are never held at
//! once, and gradients worked out together with the value are handed to the graph.

use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor};
use burn_flex::FlexTensor;

#[cfg(feature = "cube")]
use crate::cube;
use crate::flex::{self, Differentiable};
use crate::linear;
use crate::product::Products;
use crate::row_linear::Orientation;

/// Logits held at once, in elements (8 MiB in f32), where that is no fewer rows than [`LEAST_ROWS`] and [`HEAD_PART`] say.
const CHUNK_ELEMENTS: usize = 1 << 21;

/// Logits may be as many as this part of the head's elements: every chunk lays out the head anew.
const HEAD_PART: usize = 4;

/// The same on a GPU (256 MiB in f32), which wants large products.
const GPU_CHUNK_ELEMENTS: usize = 1 << 26;

/// Rows of a chunk at the least: a product with fewer reads the head more often than is good.
const LEAST_ROWS: usize = 64;

/// Elements of the rows that are one task.
const TASK_ELEMENTS: usize = 1 << 15;

/// Logits not yet worked out, `hidden · headᵀ + bias`; or their gradients with respect to the three.
#[derive(Debug, Clone)]
pub struct Projection {
    /// `[n, d]`.
    pub hidden_nd: Tensor<2>,
    /// `[v, d]`.
    pub head_vd: Tensor<2>,
    /// `[v]`.
    pub bias_v: Option<Tensor<1>>,
}

impl Projection {
    /// Rows and vocabulary.
    pub(crate) fn dims(&self) -> [usize; 2] {
        [self.hidden_nd.dims()[0], self.head_vd.dims()[0]]
    }

    /// Ranges `(start, rows)` that tile the rows so that a chunk's logits stay small.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let [n, v] = self.dims();
        let rows = if flex::is_on_processor(&self.hidden_nd) {
            chunk_rows(self.head_vd.dims())
        } else {
            (GPU_CHUNK_ELEMENTS / v).max(LEAST_ROWS)
        };
        tiles(n, rows)
    }

    /// The same outside any graph.
    pub(crate) fn without_autodiff(self) -> Self {
        Self {
            hidden_nd: self.hidden_nd.without_autodiff(),
            head_vd: self.head_vd.without_autodiff(),
            bias_v: self.bias_v.map(Tensor::without_autodiff),
        }
    }

    /// The logits of `rows` rows from `start` on.
    pub(crate) fn logits(&self, start: usize, rows: usize, products: Products) -> Tensor<2> {
        linear::reference(
            self.hidden_nd.clone().narrow(0, start, rows),
            self.head_vd.clone(),
            Orientation::OutputsFirst,
            self.bias_v.clone(),
            products,
        )
    }

    /// `value`, whose gradients with respect to the three are known. Where no operation of ours can hand them over, the
    /// graph gets a linear function that has them, and whose own value is subtracted again.
    pub(crate) fn with_gradients(self, value: Tensor<1>, gradients: Self) -> Tensor<1> {
        if flex::is_fused(&self.hidden_nd) {
            let bias_v = flex::or_empty(self.bias_v, &self.hidden_nd);
            let by_bias_v = flex::or_empty(gradients.bias_v.map(Tensor::autodiff), &self.hidden_nd);
            return Tensor::from_dispatch(Dispatch::fused_given(
                value.autodiff().into_dispatch(),
                self.hidden_nd.into_dispatch(),
                self.head_vd.into_dispatch(),
                bias_v.into_dispatch(),
                gradients.hidden_nd.autodiff().into_dispatch(),
                gradients.head_vd.autodiff().into_dispatch(),
                by_bias_v.into_dispatch(),
            ));
        }
        #[cfg(feature = "cube")]
        if self.bias_v.is_none() && cube::takes(&self.hidden_nd) {
            let by = [gradients.hidden_nd, gradients.head_vd].map(Tensor::autodiff);
            return cube::given(value.autodiff(), [self.hidden_nd, self.head_vd], by);
        }
        let mut linear = (self.hidden_nd * gradients.hidden_nd.autodiff()).sum()
            + (self.head_vd * gradients.head_vd.autodiff()).sum();
        if let (Some(bias_v), Some(gradient_v)) = (self.bias_v, gradients.bias_v) {
            linear = linear + (bias_v * gradient_v.autodiff()).sum();
        }
        linear.clone() - linear.detach() + value.autodiff()
    }
}

/// Gradients of a projection's three parts, added up chunk by chunk in order.
pub(crate) struct Backward<'a> {
    projection: &'a Projection,
    products: Products,
    hidden: Vec<Tensor<2>>,
    head_vd: Tensor<2>,
    bias_v: Option<Tensor<1>>,
}

impl<'a> Backward<'a> {
    pub(crate) fn new(projection: &'a Projection, products: Products) -> Self {
        Self {
            projection,
            products,
            hidden: Vec::new(),
            head_vd: projection.head_vd.zeros_like(),
            bias_v: projection.bias_v.as_ref().map(Tensor::zeros_like),
        }
    }

    /// Adds what the rows from `start` on contribute, given the gradient of their logits.
    pub(crate) fn add(self, start: usize, by_logits_cv: &Tensor<2>) -> Self {
        let Projection {
            hidden_nd, head_vd, ..
        } = self.projection.clone();
        let x_cd = hidden_nd.narrow(0, start, by_logits_cv.dims()[0]);
        let products = self.products;
        let product = |left, right| linear::reference(left, right, Orientation::InputsFirst, None, products);
        let mut hidden = self.hidden;
        hidden.push(product(by_logits_cv.clone(), head_vd));
        Self {
            hidden,
            head_vd: self.head_vd + product(by_logits_cv.clone().transpose(), x_cd),
            bias_v: self
                .bias_v
                .map(|bias_v| bias_v + by_logits_cv.clone().sum_dim(0).squeeze_dim::<1>(0)),
            ..self
        }
    }

    /// The gradients of all rows.
    pub(crate) fn finish(self) -> Projection {
        let hidden_nd = if self.hidden.is_empty() {
            self.projection.hidden_nd.zeros_like()
        } else {
            Tensor::cat(self.hidden, 0)
        };
        Projection {
            hidden_nd,
            head_vd: self.head_vd,
            bias_v: self.bias_v,
        }
    }
}

/// Rows of a chunk under a head `[v, d]`.
pub(crate) fn chunk_rows([v, d]: [usize; 2]) -> usize {
    (CHUNK_ELEMENTS / v).max(d / HEAD_PART).max(LEAST_ROWS)
}

/// [`Projection::chunks`] on the CPU.
pub(crate) fn chunks(n: usize, head: [usize; 2]) -> impl Iterator<Item = (usize, usize)> {
    tiles(n, chunk_rows(head))
}

/// Ranges that tile `n` rows.
pub(crate) fn tiles(n: usize, rows: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n)
        .step_by(rows)
        .map(move |start| (start, rows.min(n - start)))
}

/// Rows that are one task.
pub(crate) fn task_rows(v: usize) -> usize {
    (TASK_ELEMENTS / v).clamp(1, 16)
}

/// Ids of tokens as indices, each below `v`.
pub(crate) fn indices(ids: &FlexTensor, v: usize) -> Vec<usize> {
    let ids = ids.to_contiguous();
    let indices: Vec<usize> = match ids.dtype() {
        DType::I64 => ids.storage::<i64>().iter().map(|id| *id as usize).collect(),
        DType::I32 => ids.storage::<i32>().iter().map(|id| *id as usize).collect(),
        other => panic!("ids are i32 or i64, not {other:?}"),
    };
    assert!(
        indices.iter().all(|index| *index < v),
        "every id lies in the vocabulary of {v}"
    );
    indices
}
