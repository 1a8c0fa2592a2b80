//! Matrices of weights laid out in the order in which products of few rows read them.

use burn::tensor::{DType, Element, Shape, Tensor, TensorCreationOptions, TensorData, bf16};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::flex;
use crate::matrix::{Shared, View, multiply};
use crate::weights::{Weight, Weights};

/// Outputs of a panel, but for the last.
pub(crate) const WIDTH: usize = 48;

/// `w_kv`, `[k, v]`, with its elements in panels: the weights of outputs `48·p` to `48·(p + 1)` lie together, input by input. The
/// shape stays; [`Orientation::Panels`](crate::Orientation::Panels) says how it is to be read. Weights that no fused body
/// reads (neither f32 nor bfloat16 on the CPU) are given back as `None`. The result lies outside the graph.
pub fn in_panels(w_kv: Tensor<2>) -> Option<Tensor<2>> {
    if !flex::is_on_processor(&w_kv) || !Weights::take(w_kv.dtype()) {
        return None;
    }
    let w_kv = w_kv.without_autodiff();
    let options = TensorCreationOptions::new(w_kv.device()).with_dtype(w_kv.dtype());
    let (dims, dtype, data) = (w_kv.dims(), w_kv.dtype(), w_kv.into_data());
    let data = match dtype {
        DType::BF16 => laid::<bf16>(&data, dims),
        _ => laid::<f32>(&data, dims),
    };
    Some(Tensor::from_data(data, options))
}

fn laid<E: Element>(data: &TensorData, [k, v]: [usize; 2]) -> TensorData {
    let values = data.as_slice::<E>().expect("of the type that was asked for");
    let mut laid: Vec<E> = Vec::with_capacity(k * v);
    for (first, outputs) in panels(v) {
        for input in 0..k {
            laid.extend_from_slice(&values[input * v + first..][..outputs]);
        }
    }
    TensorData::new(laid, [k, v])
}

/// The matrix, row by row again, composed of burn's operations.
pub(crate) fn in_rows(w_kv: Tensor<2>) -> Tensor<2> {
    let [k, v] = w_kv.dims();
    let w = w_kv.reshape([k * v]);
    let panels =
        panels(v).map(|(first, outputs)| w.clone().narrow(0, k * first, k * outputs).reshape([k, outputs]));
    Tensor::cat(panels.collect(), 1)
}

/// The first output of every panel, and how many it has.
pub(crate) fn panels(v: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..v)
        .step_by(WIDTH)
        .map(move |first| (first, WIDTH.min(v - first)))
}

/// `x · w + b` of many rows, with weights in panels: the product of each panel is a task.
pub(crate) fn flex_linear(x: &FlexTensor, w: &FlexTensor, bias: &FlexTensor) -> FlexTensor {
    let (x, w, bias) = (x.to_contiguous(), w.to_contiguous(), bias.to_contiguous());
    let ([n, k], [_, v]) = (flex::dims(&x), flex::dims(&w));
    let mut values = vec![0.0; n * v];
    let target = Shared::new(&mut values);
    let (x, bias) = (View::new(x.storage(), n, k, k), bias.storage());
    let panels: Vec<_> = panels(v).collect();
    panels.into_par_iter().for_each(|(first, outputs)| {
        let part = k * first..k * (first + outputs);
        match Weights::of(&w) {
            Weights::F32(w) => product(target, x, &w[part], bias, [v, first]),
            Weights::Bf16(w) => {
                let wide: Vec<f32> = w[part].iter().map(|value| value.wide()).collect();
                product(target, x, &wide, bias, [v, first]);
            }
        }
    });
    flex::tensor(values, Shape::new([n, v]))
}

/// The outputs of one panel, from output `first` of `v` on.
fn product(target: Shared, x: View, panel: &[f32], bias: &[f32], [v, first]: [usize; 2]) {
    let outputs = panel.len() / x.columns;
    let panel = View::new(panel, x.columns, outputs, outputs);
    // SAFETY: the target is `[n, v]`, and these outputs are this task's own.
    unsafe {
        multiply(target.at(first), v, x, panel);
        if !bias.is_empty() {
            for row in 0..x.rows {
                let values = target.slice(row * v + first, outputs);
                values
                    .iter_mut()
                    .zip(&bias[first..])
                    .for_each(|(value, bias)| *value += bias);
            }
        }
    }
}
