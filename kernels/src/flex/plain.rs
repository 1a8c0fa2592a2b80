//! Operations outside the graph.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Flex, backend_extension};
use burn_flex::FlexTensor;

use crate::adamw::AdamW;
use crate::attention::Row;
use crate::divergence::{OfLikelihood, Settings};
use crate::product::Products;
use crate::profile::timed;
use crate::row_linear::Orientation;

/// Operations outside the graph.
#[backend_extension(Flex)]
pub(crate) trait Plain: Backend {
    /// The negative log-likelihoods of the targets and of the likeliest tokens.
    fn fused_nll(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        targets: IntTensor<Self>,
        products: Products,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// The negative log-likelihoods and the gradients of hidden states (empty where they want none), head and bias.
    fn fused_nll_gradients(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        targets: IntTensor<Self>,
        weights: FloatTensor<Self>,
        products: Products,
        wants_hidden: bool,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );
    /// The negative log-likelihoods, the gradient of hidden states, and the derivatives along a direction of head and bias.
    #[allow(clippy::too_many_arguments, clippy::type_complexity)] // A backend's operations take tensors, not what holds them.
    fn fused_nll_along(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        direction: FloatTensor<Self>,
        direction_bias: FloatTensor<Self>,
        targets: IntTensor<Self>,
        weights: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    /// The divergences from a teacher's head, the labels' negative log-likelihoods (empty where there are no labels), and the
    /// gradients of the student's hidden states, head and bias.
    #[allow(clippy::too_many_arguments, clippy::type_complexity)] // A backend's operations take tensors, not what holds them.
    fn fused_divergence(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        targets: IntTensor<Self>,
        label_weights: FloatTensor<Self>,
        teacher_hidden: FloatTensor<Self>,
        teacher_head: FloatTensor<Self>,
        teacher_bias: FloatTensor<Self>,
        settings: Settings,
        of: Option<OfLikelihood>,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );
    /// The same from a teacher's likeliest tokens.
    #[allow(clippy::too_many_arguments, clippy::type_complexity)] // As above.
    fn fused_divergence_top_k(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        targets: IntTensor<Self>,
        label_weights: FloatTensor<Self>,
        ids: IntTensor<Self>,
        log_p: FloatTensor<Self>,
        log_tail: FloatTensor<Self>,
        settings: Settings,
        of: Option<OfLikelihood>,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );
    fn fused_append(cache: FloatTensor<Self>, new: FloatTensor<Self>, rows: Vec<Row>) -> FloatTensor<Self>;
    fn fused_row_linear(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        orientation: Orientation,
    ) -> FloatTensor<Self>;
    fn fused_panels(x: FloatTensor<Self>, w: FloatTensor<Self>, bias: FloatTensor<Self>)
    -> FloatTensor<Self>;
    fn fused_squared_norm(x: FloatTensor<Self>) -> FloatTensor<Self>;
    fn fused_row_dots(x: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self>;
    fn fused_adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        settings: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl Plain for Flex {
    fn fused_nll(
        hidden: FlexTensor,
        head: FlexTensor,
        bias: FlexTensor,
        targets: FlexTensor,
        products: Products,
    ) -> (FlexTensor, FlexTensor) {
        timed("linear_nll", || {
            crate::cross_entropy::flex_nll(&hidden, &head, &bias, &targets, products)
        })
    }

    fn fused_nll_gradients(
        hidden: FlexTensor,
        head: FlexTensor,
        bias: FlexTensor,
        targets: FlexTensor,
        weights: FlexTensor,
        products: Products,
        wants_hidden: bool,
    ) -> (FlexTensor, FlexTensor, FlexTensor, FlexTensor) {
        let projection = [&hidden, &head, &bias];
        timed("linear_cross_entropy", || {
            crate::cross_entropy::flex_nll_gradients(projection, &targets, &weights, products, wants_hidden)
        })
    }

    fn fused_nll_along(
        hidden: FlexTensor,
        head: FlexTensor,
        bias: FlexTensor,
        direction: FlexTensor,
        direction_bias: FlexTensor,
        targets: FlexTensor,
        weights: FlexTensor,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let (projection, direction) = ([&hidden, &head, &bias], [&direction, &direction_bias]);
        timed("linear_cross_entropy_along", || {
            crate::cross_entropy::flex_nll_along(projection, direction, &targets, &weights)
        })
    }

    fn fused_divergence(
        hidden: FlexTensor,
        head: FlexTensor,
        bias: FlexTensor,
        weights: FlexTensor,
        targets: FlexTensor,
        label_weights: FlexTensor,
        teacher_hidden: FlexTensor,
        teacher_head: FlexTensor,
        teacher_bias: FlexTensor,
        settings: Settings,
        of: Option<OfLikelihood>,
    ) -> (FlexTensor, FlexTensor, FlexTensor, FlexTensor, FlexTensor) {
        let (student, teacher) = (
            [&hidden, &head, &bias],
            [&teacher_hidden, &teacher_head, &teacher_bias],
        );
        timed("linear_divergence", || {
            let labels = crate::divergence::FlexLabels::new(&targets, &label_weights, of, &head);
            crate::divergence::flex_dense(student, &weights, &labels, teacher, settings)
        })
    }

    fn fused_divergence_top_k(
        hidden: FlexTensor,
        head: FlexTensor,
        bias: FlexTensor,
        weights: FlexTensor,
        targets: FlexTensor,
        label_weights: FlexTensor,
        ids: FlexTensor,
        log_p: FlexTensor,
        log_tail: FlexTensor,
        settings: Settings,
        of: Option<OfLikelihood>,
    ) -> (FlexTensor, FlexTensor, FlexTensor, FlexTensor, FlexTensor) {
        let student = [&hidden, &head, &bias];
        timed("linear_divergence", || {
            let labels = crate::divergence::FlexLabels::new(&targets, &label_weights, of, &head);
            crate::divergence::flex_top_k(student, &weights, &labels, &ids, [&log_p, &log_tail], settings)
        })
    }

    fn fused_append(cache: FlexTensor, new: FlexTensor, rows: Vec<Row>) -> FlexTensor {
        timed("append", || crate::append::flex_append(cache, &new, &rows))
    }

    fn fused_row_linear(
        x: FlexTensor,
        w: FlexTensor,
        bias: FlexTensor,
        orientation: Orientation,
    ) -> FlexTensor {
        timed("row_linear", || {
            crate::row_linear::flex_row_linear(&x, &w, &bias, orientation)
        })
    }

    fn fused_panels(x: FlexTensor, w: FlexTensor, bias: FlexTensor) -> FlexTensor {
        timed("linear", || crate::panels::flex_linear(&x, &w, &bias))
    }

    fn fused_squared_norm(x: FlexTensor) -> FlexTensor {
        timed("squared_norm", || crate::squared_norm::flex_squared_norm(&x))
    }

    fn fused_row_dots(x: FlexTensor, y: FlexTensor) -> FlexTensor {
        timed("row_dots", || crate::row_dots::flex_row_dots(&x, &y))
    }

    fn fused_adamw(
        parameter: FlexTensor,
        gradient: FlexTensor,
        first: FlexTensor,
        second: FlexTensor,
        settings: AdamW,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        timed("adamw_step", || {
            crate::adamw::flex_step(parameter, &gradient, first, second, settings)
        })
    }
}
