//! AdamW over a module, its state keyed by parameter path, with clipping by the norm of the whole gradient.

use crate::gradients::Vector;
use crate::model::Flat;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorCreationOptions, TensorData};
use lyceum_kernels::{AdamW, adamw_step, squared_norm};
use std::collections::BTreeMap;

/// Hyperparameters that stay the same throughout a training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWSettings {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay, applied to tensors of two and more axes.
    pub weight_decay: f64,
    /// Largest norm of the whole gradient; 0 for no limit.
    pub clip_norm: f64,
}

/// The optimizer's state.
#[derive(Debug, Clone)]
pub struct Optimizer {
    settings: AdamWSettings,
    steps: u64,
    /// First and second moments by parameter path, flat.
    moments: BTreeMap<String, [Tensor<1>; 2]>,
}

impl Optimizer {
    /// A fresh optimizer.
    pub fn new(settings: AdamWSettings) -> Self {
        Self {
            settings,
            steps: 0,
            moments: BTreeMap::new(),
        }
    }

    /// Clips `gradients` and takes one step at rate `lr`. Gives the module and the norm of the gradient before clipping.
    /// Parameters that nothing else holds are changed in place.
    pub fn step<M: Module>(&mut self, module: M, gradients: GradientsParams, lr: f64) -> (M, f64) {
        let mut squares = SquaredNorm {
            gradients: &gradients,
            squares: Vec::new(),
        };
        module.visit(&mut squares);
        let norm = squares.sum().sqrt();
        let limit = self.settings.clip_norm;
        // PyTorch's clip_grad_norm_ adds the same 1e-6.
        let scale = if limit > 0.0 {
            (limit / (norm + 1e-6)).min(1.0)
        } else {
            1.0
        };
        self.steps += 1;
        let AdamWSettings {
            beta1,
            beta2,
            eps,
            weight_decay,
            ..
        } = self.settings;
        let settings = AdamW {
            lr,
            beta1,
            beta2,
            eps,
            weight_decay,
            step: self.steps,
        };
        let mut update = Update {
            gradients,
            moments: &mut self.moments,
            settings,
            scale,
            path: Vec::new(),
        };
        (module.map(&mut update), norm)
    }

    /// v / (√m₂ + ε), elementwise, with the second moments as a step corrects them: what Adam makes of a gradient. v itself where no
    /// step was taken yet.
    pub(crate) fn preconditioned<M: Module>(&self, module: &M, v: Vector) -> Vector {
        if self.steps == 0 {
            return v;
        }
        let correction = 1.0 - self.settings.beta2.powf(self.steps as f64);
        let mut paths = Paths::default();
        module.visit(&mut paths);
        v.zip_paths(&paths.all, |path, part| match self.moments.get(path) {
            Some([_, second]) => part / ((second.clone() / correction).sqrt() + self.settings.eps),
            None => part,
        })
    }

    /// The moments as named tensors: `<path>.first` and `<path>.second`.
    pub(crate) fn state(&self) -> BTreeMap<String, Flat> {
        let named = |(path, moments): (&String, &[Tensor<1>; 2])| {
            let [first, second] = moments.each_ref().map(|moment| Flat::of(moment.clone()));
            [
                (format!("{path}.first"), first),
                (format!("{path}.second"), second),
            ]
        };
        self.moments.iter().flat_map(named).collect()
    }

    /// Restores the state written by [`Self::state`], for parameters with these numbers of elements. Moments that are not
    /// there stay fresh.
    ///
    /// # Errors
    /// What does not fit: moments of a parameter that there is not, one without the other, another number of elements.
    pub(crate) fn restore(
        &mut self,
        steps: u64,
        mut state: BTreeMap<String, TensorData>,
        sizes: &BTreeMap<String, usize>,
        like: &Tensor<2>,
    ) -> Result<(), String> {
        let options =
            || TensorCreationOptions::new(like.device().without_autodiff()).with_dtype(like.dtype());
        let mut moments = BTreeMap::new();
        for (path, &size) in sizes {
            let both = ["first", "second"].map(|which| state.remove(&format!("{path}.{which}")));
            let both = match both {
                [Some(first), Some(second)] => [first, second],
                [None, None] => continue,
                _ => return Err(format!("it has only one moment of `{path}`")),
            };
            for moment in &both {
                let found = moment.shape().as_slice();
                if found != [size] {
                    return Err(format!(
                        "it has moments of shape {found:?} for the {size} elements of `{path}`"
                    ));
                }
            }
            moments.insert(
                path.clone(),
                both.map(|moment| Tensor::from_data(moment, options())),
            );
        }
        if let Some(name) = state.keys().next() {
            return Err(format!("it has moments `{name}` of no parameter of the model"));
        }
        (self.steps, self.moments) = (steps, moments);
        Ok(())
    }
}

/// The paths of a module's parameters, in the module's order.
#[derive(Default)]
struct Paths {
    path: Vec<String>,
    all: Vec<String>,
}

impl ModuleVisitor for Paths {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
        self.all.push(self.path.join("."));
    }
}

/// The squares of a module's gradients, parameter by parameter in the module's order.
struct SquaredNorm<'a> {
    gradients: &'a GradientsParams,
    squares: Vec<Tensor<1>>,
}

impl SquaredNorm<'_> {
    /// Their sum; a GPU is waited for once, not for every parameter.
    fn sum(self) -> f64 {
        if self.squares.is_empty() {
            return 0.0;
        }
        let squares = Tensor::cat(self.squares, 0).into_data().convert::<f64>();
        squares.iter::<f64>().sum()
    }
}

impl ModuleVisitor for SquaredNorm<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.squares.push(squared_norm(gradient));
        }
    }
}

/// Updates every parameter that has a gradient.
struct Update<'a> {
    gradients: GradientsParams,
    moments: &'a mut BTreeMap<String, [Tensor<1>; 2]>,
    settings: AdamW,
    scale: f64,
    path: Vec<String>,
}

impl ModuleMapper for Update<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper): (ParamId, _, _) = param.consume();
        let Some(gradient) = self.gradients.remove::<D>(id) else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let tracked = tensor.is_autodiff();
        let dims = tensor.dims();
        let gradient = if self.scale < 1.0 {
            gradient * self.scale
        } else {
            gradient
        };
        let [first, second] = match self.moments.remove(&self.path.join(".")) {
            Some(moments) => moments.map(|moment| moment.reshape(dims)),
            None => [gradient.zeros_like(), gradient.zeros_like()],
        };
        let decay = if D >= 2 { self.settings.weight_decay } else { 0.0 };
        let settings = AdamW {
            weight_decay: decay,
            ..self.settings
        };
        let (updated, first, second) =
            adamw_step(tensor.without_autodiff(), gradient, first, second, settings);
        let size: usize = dims.iter().product();
        self.moments.insert(
            self.path.join("."),
            [first, second].map(|moment| moment.reshape([size])),
        );
        let updated = if tracked {
            updated.autodiff().require_grad()
        } else {
            updated
        };
        Param::from_mapped_value(id, updated, mapper)
    }
}
