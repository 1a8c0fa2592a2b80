//! The bridge to burn's CPU backend: which tensors take a fused body, and how its backward pass joins the graph.

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Device, Shape, Tensor, TensorData};
use burn_flex::FlexTensor;

mod differentiable;
mod graph;
mod plain;

pub(crate) use differentiable::Differentiable;
pub(crate) use graph::Operation;
pub(crate) use plain::Plain;

/// Whether a tensor takes the fused bodies: f32 on Flex.
pub(crate) fn is_fused<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && is_on_processor(tensor)
}

/// Whether a tensor lies on a processor, burn's Flex.
pub fn is_on_processor<const D: usize>(tensor: &Tensor<D>) -> bool {
    let device: Device = tensor.device().without_autodiff();
    matches!(device.as_dispatch(), DispatchDevice::Flex(_))
}

/// An optional operand beside `x`; none is an empty one, since operations of a backend take no options.
pub(crate) fn or_empty<const D: usize>(operand: Option<Tensor<1>>, x: &Tensor<D>) -> Tensor<1> {
    operand.unwrap_or_else(|| Tensor::zeros([0], (&x.device(), x.dtype())))
}

/// A contiguous tensor of these values.
pub(crate) fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// The tensor itself where it is contiguous, else a contiguous copy; a clone would make the update copy it.
pub(crate) fn owned(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// A tensor's dimensions; their number is known to the caller.
pub(crate) fn dims<const D: usize>(tensor: &FlexTensor) -> [usize; D] {
    tensor.layout().shape().dims()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tensor;

    #[test]
    fn only_f32_is_fused_in_the_graph_and_outside() {
        for tracked in [false, true] {
            assert!(is_fused(&tensor(&[1.0], [1], DType::F32, tracked)));
            assert!(!is_fused(&tensor(&[1.0], [1], DType::F64, tracked)));
        }
    }
}
