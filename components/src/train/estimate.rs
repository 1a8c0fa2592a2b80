//! What a training would cost, as far as the sizes of its inputs tell.

use super::budget;
use super::lm::recomputed_share;
use super::memory::peak_memory;
use super::optim_params::Budget;
use super::params::{LmParams, ModelChoice};
use super::recompute::Recompute;
use super::sources::SourceParams;
use crate::component::Choice;
use crate::model::ModelConfig;
use crate::{Estimate, Ref, Size, Sizes};

/// Bytes of a parameter.
const ELEMENT: f64 = 4.0;

/// The model that is trained.
struct Student {
    /// Its shape, if it is made here.
    config: Option<ModelConfig>,
    parameters: f64,
    vocab_size: f64,
    /// FLOPs of a token's forward pass.
    forward: f64,
    /// What of these the layers alone take.
    layers: f64,
    /// FLOPs that it has had already.
    before: f64,
}

impl Student {
    fn of(params: &LmParams, sizes: &Sizes, data: Size) -> Self {
        match &params.model {
            ModelChoice::Fresh(spec) => {
                let config = spec.config(data.vocab_size as usize);
                let whole = data.width().round();
                Self {
                    parameters: config.parameters() as f64,
                    vocab_size: config.vocab_size as f64,
                    before: 0.0,
                    forward: sizes.convention.forward(&config, whole as usize) / whole.max(1.0),
                    layers: sizes.convention.trunk(&config, whole as usize) / whole.max(1.0),
                    config: Some(config),
                }
            }
            ModelChoice::Continue(reference) => {
                let model = sizes.of(reference.as_str());
                Self {
                    config: None,
                    parameters: model.parameters,
                    vocab_size: model.vocab_size,
                    forward: model.flops_per_token,
                    layers: model.layers_flops_per_token,
                    before: model.flops,
                }
            }
        }
    }
}

/// FLOPs, tokens and memory as far as the sizes of the inputs tell.
pub(crate) fn estimate(params: &LmParams, sizes: &Sizes) -> Estimate {
    let data = sizes.of(params.data.as_str());
    let student = Student::of(params, sizes, data);
    let optim = &params.optim;
    let width = data.width();
    let step_tokens = width * (optim.batch_size * optim.accumulate) as f64;
    let own = 3.0 * student.forward * (1.0 + params.weighing_share(student.parameters));
    let step_flops = (own + beside(params, sizes, &student, width)) * step_tokens;
    let matched = budget::expected(params, student.before, sizes);
    let flops = match &optim.budget {
        Budget {
            steps: Some(steps), ..
        } => *steps as f64 * step_flops,
        Budget {
            tokens: Some(tokens), ..
        } if step_tokens > 0.0 => *tokens as f64 / step_tokens * step_flops,
        budget => budget.flops.unwrap_or_else(|| matched.left().max(0.0)),
    };
    let teachers = teachers(params).map(|teacher| sizes.of(teacher).parameters * ELEMENT);
    let held: f64 = teachers.sum::<f64>() + ELEMENT * params.weighing_holds(student.parameters);
    let memory = |recompute| match &student.config {
        Some(config) => {
            let tokens = width * optim.batch_size as f64;
            held + peak_memory(config, tokens, optim.accumulate, recompute)
        }
        // Weights, gradients and two moments; what lies between layers follows from a shape that is not known yet.
        None => held + 4.0 * ELEMENT * student.parameters,
    };
    let recomputed = |recompute| {
        let share = |config| recomputed_share(config, width as usize, recompute);
        flops * student.config.as_ref().map_or(0.0, share)
    };
    let (other, name) = match params.recompute {
        Recompute::None => (Recompute::Block, "block"),
        Recompute::Block => (Recompute::None, "none"),
    };
    let choice = Choice {
        setting: format!("recompute = \"{name}\""),
        memory: memory(other),
        recomputed: recomputed(other),
    };
    let size = Size {
        items: 1.0,
        bytes: student.parameters * ELEMENT,
        parameters: student.parameters,
        vocab_size: student.vocab_size,
        flops_per_token: student.forward,
        layers_flops_per_token: student.layers,
        flops: student.before + flops,
        ..Size::default()
    };
    Estimate {
        outputs: [(String::new(), size)].into(),
        flops,
        memory: memory(params.recompute),
        recomputed: recomputed(params.recompute),
        charged: matched.charge(),
        // A choice that would make no difference is none.
        choices: Some(choice)
            .filter(|choice| (choice.memory / memory(params.recompute) - 1.0).abs() > 0.05)
            .into_iter()
            .collect(),
        // A checkpoint is the weights and two moments; the last one goes when the next one stands.
        scratch: 2.0 * 3.0 * ELEMENT * student.parameters,
    }
}

/// The models and caches that are asked, each once.
fn teachers(params: &LmParams) -> impl Iterator<Item = &str> {
    let source = params.source.as_ref().and_then(SourceParams::teacher);
    let terms = params.objective.iter().filter_map(|term| term.teacher());
    let mut all: Vec<&str> = terms.chain(source.map(Ref::as_str)).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter()
}

/// FLOPs that go with a token of the data besides the student's own passes over it: drawing, asking teachers, and data of a
/// term's own.
fn beside(params: &LmParams, sizes: &Sizes, student: &Student, width: f64) -> f64 {
    let ask = |teacher: &str| sizes.of(teacher).flops_per_token;
    // Passes over one set of responses share what a teacher's layers make of it.
    let passes = match &params.source {
        Some(SourceParams::Rollouts(rollouts)) => rollouts.inner_epochs as f64,
        _ => 1.0,
    };
    let share = |teacher: &str| sizes.of(teacher).layers_flops_per_token * (1.0 - 1.0 / passes);
    let mut sum = 0.0;
    let mut seen: Vec<&str> = Vec::new();
    for term in &params.objective {
        let asked = term.teacher().map_or(0.0, ask);
        let Some(data) = term.data().map(Ref::as_str) else {
            sum += asked - term.teacher().map_or(0.0, share);
            continue;
        };
        // Terms over the same data share the student's passes.
        let own = if seen.contains(&data) {
            0.0
        } else {
            3.0 * student.forward
        };
        seen.push(data);
        sum += (own + asked) * sizes.of(data).width() / width.max(1.0);
    }
    sum + match &params.source {
        None => 0.0,
        Some(SourceParams::Rollouts(rollouts)) => {
            let teacher = rollouts
                .teacher
                .as_ref()
                .map_or(0.0, |teacher| ask(teacher.as_str()));
            rollouts.on_policy * (student.forward + teacher) / rollouts.inner_epochs as f64
        }
        Some(SourceParams::Responses(responses)) => {
            // Each answer is written once, however often it is learnt.
            let rows = (params.optim.batch_size * params.optim.accumulate) as f64;
            let learnt = params
                .optim
                .budget
                .steps
                .map_or(f64::INFINITY, |steps| steps as f64 * rows);
            let items = sizes.of(params.data.as_str()).items;
            ask(responses.teacher.as_str()) * (items / learnt).clamp(0.0, 1.0)
        }
        // Two responses a prompt are learnt from; one is drawn, and the teacher looks at both.
        Some(SourceParams::Preferences(preferences)) => {
            4.0 * student.forward + 2.0 * ask(preferences.teacher.as_str())
        }
    }
}
