//! What a forward pass needs to know besides the weights, and how its operations are formed.

use super::config::{Activation, ModelConfig, Positions};
use super::probe::Probe;
use super::rotary::Rotary;
use crate::Precision;
use burn::module::Param;
use burn::tensor::{DType, Int, Tensor};
use lyceum_kernels::{Orientation, Products, layer_norm, linear, rms_norm, row_linear, table_rows};
use std::sync::Arc;

/// What the forward pass needs to know besides the weights.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) heads: usize,
    pub(crate) groups: usize,
    pub(crate) head_dim: usize,
    pub(crate) eps: f64,
    pub(crate) positions: Positions,
    pub(crate) windows: Vec<Option<usize>>,
    pub(crate) slopes: Option<Arc<[f64]>>,
    pub(crate) parallel: bool,
    pub(crate) activation: Activation,
    /// How matrix products are formed.
    pub(crate) products: Products,
    /// How the matrices of the layers lie.
    pub(crate) orientation: Orientation,
    /// What watches passes, if anything does.
    pub(crate) probe: Option<Probe>,
}

impl Settings {
    pub(crate) fn of(config: &ModelConfig, precision: Precision) -> Self {
        let heads = config.num_attention_heads;
        Self {
            heads,
            groups: config.num_key_value_heads,
            head_dim: config.head_dim,
            eps: config.norm_eps,
            positions: config.positions.clone(),
            windows: config.windows.clone(),
            slopes: (config.positions == Positions::Alibi).then(|| alibi_slopes(heads)),
            parallel: config.parallel,
            activation: config.activation,
            products: precision.products(),
            orientation: Orientation::InputsFirst,
            probe: None,
        }
    }

    /// `x · w + bias`, in the precision that products are taken in. `few`: each row's bytes are to be independent of the
    /// others.
    pub(crate) fn product(
        &self,
        x_nd: Tensor<2>,
        w: &Param<Tensor<2>>,
        bias: Option<&Param<Tensor<1>>>,
        few: bool,
    ) -> Tensor<2> {
        let form = |x_nd: Tensor<2>, w: Tensor<2>, bias: Option<Tensor<1>>| {
            if few {
                row_linear(x_nd, w, self.orientation, bias)
            } else {
                linear(x_nd, w, self.orientation, bias, self.products)
            }
        };
        let value = |x_nd| form(x_nd, w.val(), bias.map(Param::val));
        match &self.probe {
            None => value(x_nd),
            Some(probe) if probe.wants_inputs() => probe.tap_product(value(x_nd.clone()), x_nd, w, bias),
            Some(probe) => {
                let along = bias.map(|bias| probe.along(bias));
                let along = form(x_nd.clone().without_autodiff(), probe.along(w), along);
                probe.tap(value(x_nd), along)
            }
        }
    }

    /// A norm: of the mean and variance where it has a shift, else of the root mean square.
    pub(crate) fn norm<const D: usize>(
        &self,
        x: Tensor<D>,
        scale: &Param<Tensor<1>>,
        shift: Option<&Param<Tensor<1>>>,
    ) -> Tensor<D> {
        let form = |x: Tensor<D>, scale: Tensor<1>, shift: Option<Tensor<1>>| match shift {
            Some(_) => layer_norm(x, scale, shift, self.eps),
            None => rms_norm(x, scale, self.eps),
        };
        let along = self.probe.as_ref().map(|probe| {
            let shift = shift.map(|shift| probe.along(shift));
            form(x.clone().without_autodiff(), probe.along(scale), shift)
        });
        self.tapped(form(x, scale.val(), shift.map(Param::val)), along)
    }

    /// Rows of a table of weights, in the type of what is made of them.
    pub(crate) fn rows(&self, table: &Param<Tensor<2>>, rows_n: Tensor<1, Int>, dtype: DType) -> Tensor<2> {
        let along = self
            .probe
            .as_ref()
            .map(|probe| probe.along(table).select(0, rows_n.clone()).cast(dtype));
        self.tapped(table_rows(table.val(), rows_n).cast(dtype), along)
    }

    /// An operation's value, shown to what watches the pass together with what the direction makes of the operation.
    fn tapped<const D: usize>(&self, value: Tensor<D>, along: Option<Tensor<D>>) -> Tensor<D> {
        match (&self.probe, along) {
            (Some(probe), Some(along)) => probe.tap(value, along),
            _ => value,
        }
    }

    /// The rotation of queries and keys, if there is one.
    pub(crate) fn rotary(&self) -> Option<&Rotary> {
        match &self.positions {
            Positions::Rotary(rotary) => Some(rotary),
            _ => None,
        }
    }
}

/// ALiBi's slopes: `2^(−8i/h)` for a power of two `h` of heads; else those of the next lower power, and between them every
/// other one of the next higher (Press et al. 2022, §3 and the authors' rule for other head counts).
fn alibi_slopes(heads: usize) -> Arc<[f64]> {
    let lower = 1 << heads.ilog2();
    let slope = |i: usize, of: usize| (-8.0 * i as f64 / of as f64).exp2();
    let first = (1..=lower).map(|i| slope(i, lower));
    let between = (0..heads - lower).map(|i| slope(2 * i + 1, 2 * lower));
    first.chain(between).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_those_of_the_paper_also_between_powers_of_two() {
        assert_eq!(*alibi_slopes(2), [0.0625, 0.003_906_25]);
        let twelve = alibi_slopes(12);
        assert_eq!(twelve[..8], *alibi_slopes(8));
        assert_eq!(twelve[8], (-0.5_f64).exp2());
        assert_eq!(twelve[11], (-3.5_f64).exp2());
    }
}
