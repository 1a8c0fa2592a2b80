//! The fused body of attention as operations of the graph.

use burn::tensor::Shape;
use burn_flex::FlexTensor;

use super::bias::{Biases, Distance, by_table};
use super::decode;
use super::operands::Operands;
use super::rotary::{Turn, Turned};
use super::sight::Sight;
use super::training::Call;
use crate::flex::{self, Operation};
use crate::matrix::Shared;

/// What a call is about besides its tensors.
#[derive(Debug, Clone)]
pub(crate) struct Attention {
    /// Multiplies the scores.
    pub(super) scale: f64,
    /// Which keys are seen.
    pub(super) sight: Sight,
    /// What is added by distance.
    pub(super) distance: Distance,
    /// Keys are held in a cache.
    pub(super) cached: bool,
}

/// Inputs are queries, keys, values and the table of learned biases, which is empty where there is none.
impl Operation<4> for Attention {
    const NAMES: [&'static str; 2] = ["attention", "attention, backward"];

    fn forward(&self, [q, k, v, table]: [&FlexTensor; 4]) -> FlexTensor {
        let operands = Operands::apart([q, k, v]);
        let biases = self.biases(operands.h, table);
        // Only beside a cache: without one, a single position is handled as training handles it.
        let values = if self.cached && self.sight.t == 1 {
            decode::forward(self, operands, &biases)
        } else {
            self.call(operands, &biases, None).forward()
        };
        flex::tensor(values, q.layout().shape().clone())
    }

    fn backward(
        &self,
        [q, k, v, table]: [&FlexTensor; 4],
        gradient: &FlexTensor,
        wanted: [bool; 4],
    ) -> [Option<FlexTensor>; 4] {
        let operands = Operands::apart([q, k, v]);
        let biases = self.biases(operands.h, table);
        let [mut by_q, mut by_k, mut by_v] = operands.data.map(|data| vec![0.0; data.len()]);
        let targets = [&mut by_q, &mut by_k, &mut by_v].map(|data| Shared::new(data));
        let mut sums = self.sums(operands, &biases, wanted[3]);
        // SAFETY: each target is as large as its operand.
        unsafe {
            self.call(operands, &biases, None)
                .backward(gradient.storage(), targets, &mut sums);
        }
        let shape = |tensor: &FlexTensor| tensor.layout().shape().clone();
        [
            Some(flex::tensor(by_q, shape(q))),
            Some(flex::tensor(by_k, shape(k))),
            Some(flex::tensor(by_v, shape(v))),
            self.by_table(operands, &biases, &sums, table),
        ]
    }
}

impl Attention {
    fn biases(&self, h: usize, table: &FlexTensor) -> Biases {
        Biases::new(&self.distance, &self.sight, h, table.storage())
    }

    fn call<'a>(&'a self, operands: Operands<'a>, biases: &'a Biases, turn: Option<&'a Turn>) -> Call<'a> {
        Call {
            attention: self,
            operands,
            biases,
            turn,
        }
    }

    /// Room for the gradients of scores by key sequence, head and distance, where they are wanted.
    fn sums(&self, operands: Operands, biases: &Biases, wanted: bool) -> Vec<f32> {
        let wanted = wanted && self.distance.buckets.is_some();
        vec![
            0.0;
            if wanted {
                operands.c * operands.h * biases.span()
            } else {
                0
            }
        ]
    }

    /// The gradient of the table.
    fn by_table(
        &self,
        operands: Operands,
        biases: &Biases,
        sums: &[f32],
        table: &FlexTensor,
    ) -> Option<FlexTensor> {
        let buckets = self.distance.buckets.filter(|_| !sums.is_empty())?;
        let gradient = by_table(buckets, biases, operands.h, sums);
        Some(flex::tensor(gradient, table.layout().shape().clone()))
    }
}

/// Attention of sequences over themselves, as their queries, keys and values leave their one product.
#[derive(Debug, Clone)]
pub(crate) struct SelfAttention {
    pub(super) attention: Attention,
    /// Key/value heads.
    pub(super) groups: usize,
    pub(super) turned: Turned,
}

/// [`SelfAttention`] with the angles of its rotation.
#[derive(Debug, Clone)]
pub(crate) struct Turning {
    inner: SelfAttention,
    turn: Option<Turn>,
}

impl SelfAttention {
    /// Cosines and sines are empty where nothing turns.
    pub(crate) fn with(self, cos: &FlexTensor, sin: &FlexTensor) -> Turning {
        let turn = Turn::new(cos, sin, self.turned);
        Turning { inner: self, turn }
    }
}

/// Inputs are the packed heads and the table of learned biases, which is empty where there is none.
impl Operation<2> for Turning {
    const NAMES: [&'static str; 2] = <Attention as Operation<4>>::NAMES;

    fn forward(&self, [qkv, table]: [&FlexTensor; 2]) -> FlexTensor {
        let attention = &self.inner.attention;
        let operands = Operands::packed(qkv, self.inner.groups);
        let biases = attention.biases(operands.h, table);
        let values = attention.call(operands, &biases, self.turn.as_ref()).forward();
        let shape = [operands.c, attention.sight.t, operands.h, operands.d];
        flex::tensor(values, Shape::new(shape))
    }

    fn backward(
        &self,
        [qkv, table]: [&FlexTensor; 2],
        gradient: &FlexTensor,
        wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let attention = &self.inner.attention;
        let operands = Operands::packed(qkv, self.inner.groups);
        let biases = attention.biases(operands.h, table);
        let mut by_qkv = vec![0.0; operands.data[0].len()];
        let targets = [Shared::new(&mut by_qkv); 3];
        let mut sums = attention.sums(operands, &biases, wanted[1]);
        let call = attention.call(operands, &biases, self.turn.as_ref());
        // SAFETY: the target is as large as the operands.
        unsafe { call.backward(gradient.storage(), targets, &mut sums) };
        [
            Some(flex::tensor(by_qkv, qkv.layout().shape().clone())),
            attention.by_table(operands, &biases, &sums, table),
        ]
    }
}
