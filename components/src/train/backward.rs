//! A pass over a batch and the way back, layer by layer and in bands of rows.
//!
//! Every layer of every band has a graph of its own. So bands go beside each other, the gradients of one layer at a time are
//! there more than once, and a layer's graph can be made again when it is wanted instead of being kept (Chen et al. 2016,
//! one segment a layer).

use super::recompute::Recompute;
use crate::model::{Band, Decoder, Layer};
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Gradients, Int, Tensor};
use lyceum_kernels::{beside, with_gradient};

/// The value of `loss`, a function of the final hidden states at the positions `wanted`, ascending, `[n, d]`, and its
/// gradients; none: at all positions. Their bytes depend neither on threads nor on `recompute`: each layer runs the same
/// operations on the same numbers, once or twice, and what adds up adds up in the same order.
pub(super) fn gradients(
    decoder: &Decoder,
    inputs_bt: Tensor<2, Int>,
    wanted: Option<&[usize]>,
    recompute: Recompute,
    loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
) -> (Tensor<1>, GradientsParams) {
    let bands = decoder.bands(inputs_bt.dims(), wanted);
    // The positions of a row are those of every row.
    let place = &bands[0].place;
    let still = decoder.clone().no_grad();
    let x_nd = still.embed(inputs_bt.clone(), place).without_autodiff();
    drop(still);
    let (d, device, dtype) = (x_nd.dims()[1], x_nd.device(), x_nd.dtype());
    let forward = |band| Pass::forward(decoder, band, &x_nd, recompute);
    let mut passes: Vec<Pass> = beside(bands.iter().collect(), forward);
    drop(x_nd);

    let mut gradients = GradientsAccumulator::new();
    let last = passes.iter_mut().filter_map(|pass| pass.edge_nd.take());
    let last_nd = leaf(Tensor::cat(last.collect(), 0));
    let loss = loss(decoder.normed(last_nd.clone()));
    let value = loss.clone().without_autodiff();
    let mut found = loss.backward();
    gradients.accumulate(decoder, GradientsParams::from_module(&mut found, decoder));
    let by_last_nd = last_nd.grad_remove(&mut found);
    drop((last_nd, found));
    // Without one the loss looks at nothing that a layer gave.
    if let Some(by_last_nd) = by_last_nd {
        let mut first = 0;
        for pass in passes.iter_mut().filter(|pass| pass.given > 0) {
            pass.edge_nd = Some(by_last_nd.clone().narrow(0, first, pass.given));
            first += pass.given;
        }
        drop(by_last_nd);
        for _ in &decoder.layers {
            for of_band in beside(passes.iter_mut().collect(), Pass::back)
                .into_iter()
                .flatten()
            {
                gradients.accumulate(decoder, of_band);
            }
        }
        let by_x = passes.into_iter().map(|pass| match pass.edge_nd {
            Some(by_x_nd) => by_x_nd,
            None => Tensor::zeros([pass.band.positions.len(), d], (&device, dtype)),
        });
        let by_x_nd = Tensor::cat(by_x.collect(), 0);
        let mut found = backward(decoder.embed(inputs_bt, place), by_x_nd);
        gradients.accumulate(decoder, GradientsParams::from_module(&mut found, decoder));
    }
    (value, gradients.grads())
}

/// A band on its way through the layers, and back.
struct Pass<'a> {
    band: &'a Band,
    /// Rows that the last layer gives.
    given: usize,
    /// What the next layer reads; on the way back the gradient by what the next one gave. None where nothing led there.
    edge_nd: Option<Tensor<2>>,
    layers: Vec<Later<'a>>,
}

/// Gives a layer's graph when it is wanted.
type Later<'a> = Box<dyn FnOnce() -> Graph + Send + 'a>;

/// A layer's graph, which shares nothing with any other.
struct Graph {
    layer: Layer,
    input_nd: Tensor<2>,
    output_nd: Tensor<2>,
}

impl<'a> Pass<'a> {
    fn forward(decoder: &'a Decoder, band: &'a Band, x_nd: &Tensor<2>, recompute: Recompute) -> Self {
        let positions = band.positions.clone();
        let mut edge_nd = x_nd.clone().narrow(0, positions.start, positions.len());
        let mut layers = Vec::with_capacity(decoder.layers.len());
        for i in 0..decoder.layers.len() {
            let input_nd = edge_nd;
            let output_nd = match recompute {
                Recompute::None => {
                    let graph = Graph::new(decoder, i, band, input_nd);
                    let output_nd = graph.output_nd.clone();
                    layers.push(Box::new(move || graph) as Later);
                    output_nd
                }
                Recompute::Block => {
                    // Without gradients, but on the device that tracks them: outside it burn composes some operations
                    // in other ways.
                    let still = decoder.layers[i].clone().no_grad();
                    let output_nd = through(decoder, &still, i, input_nd.clone().autodiff(), band);
                    layers.push(Box::new(move || Graph::new(decoder, i, band, input_nd)));
                    output_nd
                }
            };
            edge_nd = output_nd.without_autodiff();
        }
        Self {
            band,
            given: edge_nd.dims()[0],
            edge_nd: Some(edge_nd),
            layers,
        }
    }

    /// One layer back: the gradients of its parameters.
    fn back(&mut self) -> Option<GradientsParams> {
        let (graph, by_output_nd) = (self.layers.pop()?, self.edge_nd.take()?);
        let Graph {
            layer,
            input_nd,
            output_nd,
        } = graph();
        let mut found = backward(output_nd, by_output_nd);
        self.edge_nd = input_nd.grad_remove(&mut found);
        Some(GradientsParams::from_module(&mut found, &layer))
    }
}

impl Graph {
    fn new(decoder: &Decoder, i: usize, band: &Band, input_nd: Tensor<2>) -> Self {
        let layer = &decoder.layers[i];
        let layer = layer.clone().fork(&layer.qkv.val().device());
        let input_nd = leaf(input_nd);
        let output_nd = through(decoder, &layer, i, input_nd.clone(), band);
        Self {
            layer,
            input_nd,
            output_nd,
        }
    }
}

/// What a layer, which stands for the decoder's, makes of a band.
fn through(decoder: &Decoder, layer: &Layer, i: usize, x_nd: Tensor<2>, band: &Band) -> Tensor<2> {
    layer.forward(x_nd, band.sizes, &decoder.config, i, &band.place, None)
}

/// The beginning of a graph.
fn leaf(x_nd: Tensor<2>) -> Tensor<2> {
    x_nd.autodiff().require_grad()
}

/// The gradients of something whose gradient by `y_nd` is `by_y_nd`.
fn backward(y_nd: Tensor<2>, by_y_nd: Tensor<2>) -> Gradients {
    let something = Tensor::zeros([1], (&by_y_nd.device(), by_y_nd.dtype()));
    with_gradient(something, y_nd, by_y_nd).backward()
}
