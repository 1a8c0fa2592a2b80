//! Watching a pass, so that the backward pass tells of every example how its loss grows along a direction.
//!
//! Every operation with parameters is linear in them. If those of example n are moved by ε_n v, its value moves by ε_n z_n, where z is
//! the same operation with v in the parameters' place, and the loss by `ε_n ⟨g_n, z_n⟩`, where g is its gradient by the
//! value. Added up over the operations this is `ε_n ⟨∇ℓ_n, v⟩`. So a pass keeps z and taps the value, and the backward
//! pass leaves g at the tap. Of a product the inputs may be kept instead: with g they make example n's own gradient.

use super::decoder::Decoder;
use crate::gradients::Vector;
use burn::module::{Module, Param, ParamId};
use burn::tensor::Tensor;
use lyceum_kernels::{Products, tap};
use std::sync::{Arc, Mutex, PoisonError};

/// What watches a pass over examples that lie one after the other on the first axis of every tensor.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    examples: usize,
    direction: Vector,
    /// Whether every example's own gradient is to be formed of products, rather than a product more along the direction.
    own_gradients: bool,
    taps: Arc<Mutex<Vec<Tap>>>,
}

/// An operation that was watched. `b` examples, `m` elements of each.
#[derive(Debug)]
pub(crate) struct Tap {
    /// Where a backward pass leaves the gradient of the value, `[b, m]`.
    pub(crate) leaf: Tensor<2>,
    pub(crate) seen: Seen,
}

/// What is kept of an operation beside its gradient.
#[derive(Debug)]
pub(crate) enum Seen {
    /// The operation with the direction in its parameters' place, `[b, m]`.
    Along(Tensor<2>),
    /// The inputs of a product.
    Product {
        /// `[b · t, k]`.
        x_nk: Tensor<2>,
        /// Of shape `[k, v]`.
        w: ParamId,
        bias: Option<ParamId>,
    },
}

impl Probe {
    pub(crate) fn new(examples: usize, direction: Vector) -> Self {
        Self {
            examples,
            direction,
            own_gradients: false,
            taps: Arc::default(),
        }
    }

    /// The same, for every example's own gradient of matrices.
    pub(crate) fn with_own_gradients(mut self) -> Self {
        self.own_gradients = true;
        self
    }

    /// The direction in a parameter's place.
    pub(crate) fn along<const D: usize>(&self, param: &Param<Tensor<D>>) -> Tensor<D> {
        self.direction.of(param)
    }

    /// Whether inputs of products are wanted, rather than what the direction makes of them.
    pub(crate) fn wants_inputs(&self) -> bool {
        self.own_gradients
    }

    /// An operation's value, tapped; `along` is the same operation of constants with the direction in its parameters' place.
    pub(crate) fn tap<const D: usize>(&self, value: Tensor<D>, along: Tensor<D>) -> Tensor<D> {
        let along_bm = self.rows(along);
        self.tapped(value, Seen::Along(along_bm))
    }

    /// The value of `x · w + bias`, tapped.
    pub(crate) fn tap_product(
        &self,
        value: Tensor<2>,
        x_nk: Tensor<2>,
        w: &Param<Tensor<2>>,
        bias: Option<&Param<Tensor<1>>>,
    ) -> Tensor<2> {
        let seen = Seen::Product {
            x_nk: x_nk.without_autodiff(),
            w: w.id,
            bias: bias.map(|bias| bias.id),
        };
        self.tapped(value, seen)
    }

    fn tapped<const D: usize>(&self, value: Tensor<D>, seen: Seen) -> Tensor<D> {
        let dims = value.dims();
        let (value_bm, leaf) = tap(self.rows(value));
        let mut taps = self.taps.lock().unwrap_or_else(PoisonError::into_inner);
        taps.push(Tap { leaf, seen });
        value_bm.reshape(dims)
    }

    /// A row for each example.
    fn rows<const D: usize>(&self, x: Tensor<D>) -> Tensor<2> {
        let size = x.dims().iter().product::<usize>() / self.examples;
        x.reshape([self.examples, size])
    }

    /// The operations that were watched, in their order.
    pub(crate) fn take(&self) -> Vec<Tap> {
        std::mem::take(&mut *self.taps.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Decoder {
    /// The decoder outside any graph, its passes watched and its products formed in the weights' own type.
    pub(crate) fn watched(&self, probe: &Probe) -> Self {
        let mut decoder = self.with_products(Products::Full);
        decoder.config.probe = Some(probe.clone());
        decoder
    }

    /// The decoder outside any graph, with another way of forming products.
    pub(crate) fn with_products(&self, products: Products) -> Self {
        let mut decoder = self.valid();
        decoder.config.products = products;
        decoder
    }
}
