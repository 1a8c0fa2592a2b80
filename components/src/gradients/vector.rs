//! A point of parameter space.

use super::host;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use lyceum_kernels::row_dots;

/// A number for every parameter of a module: a gradient, a direction, or the parameters themselves. Its parts lie in the
/// module's order, so that sums over them never depend on ids, which are drawn at random.
///
/// Vectors that are combined, and modules they are used with, must be of one module or of clones of it.
#[derive(Debug, Clone)]
pub struct Vector {
    /// Flat, outside any graph, except those of [`Self::leaves`].
    parts: Vec<(ParamId, Tensor<1>)>,
}

impl Vector {
    /// The parameters of a module.
    pub fn parameters<M: Module>(module: &M) -> Self {
        let mut collect = Collect {
            gradients: None,
            parts: Vec::new(),
        };
        module.visit(&mut collect);
        Self { parts: collect.parts }
    }

    /// Gradients of a module's parameters; zero where there is none.
    pub fn gradient<M: Module>(module: &M, gradients: &GradientsParams) -> Self {
        let mut collect = Collect {
            gradients: Some(gradients),
            parts: Vec::new(),
        };
        module.visit(&mut collect);
        Self { parts: collect.parts }
    }

    /// What an optimizer takes as the gradients of a module.
    pub fn into_gradients<M: Module>(self, module: &M) -> GradientsParams {
        let mut spread = Spread {
            vector: self,
            gradients: GradientsParams::new(),
        };
        module.visit(&mut spread);
        spread.gradients
    }

    /// Its numbers on the host, one part after the other.
    pub fn numbers(&self) -> Vec<f64> {
        self.parts
            .iter()
            .flat_map(|(_, part)| host(part.clone()))
            .collect()
    }

    /// How many numbers it has.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|(_, part)| part.dims()[0]).sum()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `self + scale · other`.
    #[must_use]
    pub fn plus(self, scale: f64, other: &Self) -> Self {
        let parts = self.parts.into_iter().zip(&other.parts);
        Self {
            parts: parts
                .map(|((id, part), (other_id, other))| {
                    assert_eq!(id, *other_id, "vectors of one module");
                    (id, part + other.clone() * scale)
                })
                .collect(),
        }
    }

    /// `scale · self`.
    #[must_use]
    pub fn times(self, scale: f64) -> Self {
        self.map(|part| part * scale)
    }

    /// `⟨self, other⟩`, added up in f64 over the parts.
    pub fn dot(&self, other: &Self) -> f64 {
        let rows = self
            .parts
            .iter()
            .zip(&other.parts)
            .map(|((id, part), (other_id, other))| {
                assert_eq!(id, other_id, "vectors of one module");
                row_dots(part.clone().unsqueeze(), other.clone().unsqueeze())
            });
        host(Tensor::cat(rows.collect(), 0)).iter().sum()
    }

    /// The Euclidean norm.
    pub fn norm(&self) -> f64 {
        self.dot(self).sqrt()
    }

    /// The module with `scale · self` added to its parameters, in the graph where they are.
    pub fn moved<M: Module>(&self, module: M, scale: f64) -> M {
        module.map(&mut Move { vector: self, scale })
    }

    /// Every part put through `change` with the path of its parameter, `paths` being those of the module in its order.
    pub(crate) fn zip_paths(self, paths: &[String], change: impl Fn(&str, Tensor<1>) -> Tensor<1>) -> Self {
        assert_eq!(paths.len(), self.parts.len(), "paths of one module");
        let parts = self.parts.into_iter().zip(paths);
        Self {
            parts: parts.map(|((id, part), path)| (id, change(path, part))).collect(),
        }
    }

    /// The part in a parameter's place.
    pub(crate) fn of<const D: usize>(&self, param: &Param<Tensor<D>>) -> Tensor<D> {
        self.at(param.id).clone().reshape(param.dims())
    }

    /// The same as leaves of a graph, whose gradients [`Self::left`] collects.
    pub(super) fn leaves(self) -> Self {
        self.map(|part| part.autodiff().require_grad())
    }

    /// The gradients that a backward pass from `loss` leaves at [`Self::leaves`].
    pub(super) fn left(&self, loss: &Tensor<1>) -> Self {
        let mut gradients = loss.backward();
        self.clone().map(|leaf| {
            let gradient = leaf.grad_remove(&mut gradients);
            gradient.unwrap_or_else(|| leaf.without_autodiff().zeros_like())
        })
    }

    /// Adds to the part of one parameter.
    pub(super) fn add(&mut self, id: ParamId, more: Tensor<1>) {
        let part = self.parts.iter_mut().find(|(part, _)| *part == id);
        let (_, part) = part.expect("a vector of the module");
        *part = part.clone() + more;
    }

    /// Every part put through `change`.
    pub(super) fn map(self, mut change: impl FnMut(Tensor<1>) -> Tensor<1>) -> Self {
        let parts = self.parts.into_iter();
        Self {
            parts: parts.map(|(id, part)| (id, change(part))).collect(),
        }
    }

    /// The part of one parameter, flat.
    pub(super) fn at(&self, id: ParamId) -> &Tensor<1> {
        let part = self.parts.iter().find(|(part, _)| *part == id);
        &part.expect("a vector of the module").1
    }
}

/// Takes the parameters, or their gradients where there are any to take.
struct Collect<'a> {
    gradients: Option<&'a GradientsParams>,
    parts: Vec<(ParamId, Tensor<1>)>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let parameter = || param.val().without_autodiff();
        let part = match self.gradients {
            None => parameter(),
            Some(gradients) => gradients
                .get::<D>(param.id)
                .unwrap_or_else(|| parameter().zeros_like()),
        };
        self.parts.push((param.id, flat(part)));
    }
}

/// Gives every parameter its part as its gradient.
struct Spread {
    vector: Vector,
    gradients: GradientsParams,
}

impl ModuleVisitor for Spread {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.gradients.register::<D>(param.id, self.vector.of(param));
    }
}

/// Adds its part, scaled, to every parameter.
struct Move<'a> {
    vector: &'a Vector,
    scale: f64,
}

impl ModuleMapper for Move<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let step = self.vector.of(&param) * self.scale;
        let (id, tensor, mapper) = param.consume();
        let (in_graph, wanted) = (tensor.is_autodiff(), tensor.is_require_grad());
        let moved = tensor.without_autodiff() + step;
        let moved = if in_graph {
            moved.autodiff().set_require_grad(wanted)
        } else {
            moved
        };
        Param::from_mapped_value(id, moved, mapper)
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let size = tensor.shape().num_elements();
    tensor.reshape([size])
}
