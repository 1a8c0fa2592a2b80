//! Watching a pass, so that the backward pass tells of every example how its loss grows along a direction.
//!
//! Every operation with parameters is linear in them. If those of example n are moved by ε_n v, its value moves by ε_n z_n, where z is
//! the same operation with v in the parameters' place, and the loss by `ε_n ⟨g_n, z_n⟩`, where g is its gradient by the
//! value. Added up over the operations this is `ε_n ⟨∇ℓ_n, v⟩`. So a pass keeps z and taps the value, and the backward
//! pass leaves g at the tap.

use super::decoder::Decoder;
use crate::gradients::Vector;
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use lyceum_kernels::{Products, tap};
use std::sync::{Arc, Mutex, PoisonError};

/// What watches a pass over examples that lie one after the other on the first axis of every tensor.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    examples: usize,
    direction: Vector,
    taps: Arc<Mutex<Vec<Tap>>>,
}

/// An operation that was watched. `b` examples, `m` elements of each.
#[derive(Debug)]
pub(crate) struct Tap {
    /// The operation with the direction in its parameters' place.
    pub(crate) along_bm: Tensor<2>,
    /// Where a backward pass leaves the gradient of the value, `[b, m]`.
    pub(crate) leaf: Tensor<2>,
}

impl Probe {
    pub(crate) fn new(examples: usize, direction: Vector) -> Self {
        Self {
            examples,
            direction,
            taps: Arc::default(),
        }
    }

    /// The direction in a parameter's place.
    pub(crate) fn along<const D: usize>(&self, param: &Param<Tensor<D>>) -> Tensor<D> {
        self.direction.of(param)
    }

    /// An operation's value, tapped; `along` is the same operation of constants with the direction in its parameters' place.
    pub(crate) fn tap<const D: usize>(&self, value: Tensor<D>, along: Tensor<D>) -> Tensor<D> {
        let dims = value.dims();
        let size = dims.iter().product::<usize>() / self.examples;
        let (value_bm, leaf) = tap(value.reshape([self.examples, size]));
        let along_bm = along.reshape([self.examples, size]);
        let mut taps = self.taps.lock().unwrap_or_else(PoisonError::into_inner);
        taps.push(Tap { along_bm, leaf });
        value_bm.reshape(dims)
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
