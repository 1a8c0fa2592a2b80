//! `pytorch_adamw.json`: AdamW with clipping; `pytorch_schedules.json` and `miniplm_misc.json`: learning rates.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor, TensorCreationOptions, TensorData};
use lyceum_components::train::{AdamWSettings, Optimizer, Schedule, ScheduleKind};
use lyceum_tests::{Golden, Node, assert_close};

/// Three parameters, as the fixture has them.
#[derive(Module, Debug)]
struct Parameters {
    first: Param<Tensor<2>>,
    scale: Param<Tensor<1>>,
    second: Param<Tensor<2>>,
}

fn tensor<const D: usize>(node: &Node, device: &Device) -> Tensor<D> {
    let (shape, elements) = node.tensor();
    let options = TensorCreationOptions::new(device.clone()).with_dtype(DType::F64);
    Tensor::from_data(TensorData::new(elements, shape), options)
}

fn assert_tensor<const D: usize>(what: &str, found: Tensor<D>, expected: &Node) {
    let (shape, expected) = expected.tensor();
    let found = found.into_data();
    assert_eq!(found.shape().to_vec(), shape, "{what}: shape");
    let found: Vec<f64> = found.try_into_vec().expect("parameters are f64");
    assert_close(what, &found, &expected, 1e-12);
}

/// Five steps on parameters that lie on `device`.
fn steps_agree(device: &Device) {
    let golden = Golden::open("pytorch_adamw");
    let root = golden.root();
    root.prose(&["made_with"]);
    let settings = root.get("settings");
    let mut optimizer = Optimizer::new(AdamWSettings {
        beta1: settings.get("beta1").read(),
        beta2: settings.get("beta2").read(),
        eps: settings.get("eps").read(),
        weight_decay: settings.get("weight_decay").read(),
        clip_norm: settings.get("clip_norm").read(),
    });
    let start = root.get("parameters");
    let mut parameters = Parameters {
        first: Param::from_tensor(tensor(&start.get("first"), device)),
        scale: Param::from_tensor(tensor(&start.get("scale"), device)),
        second: Param::from_tensor(tensor(&start.get("second"), device)),
    };
    let inner = device.clone().without_autodiff();
    let steps = root.get("steps").items();
    assert_eq!(steps.len(), 5);
    for (number, step) in steps.iter().enumerate() {
        let given = step.get("gradients");
        let mut gradients = GradientsParams::new();
        gradients.register(parameters.first.id, tensor::<2>(&given.get("first"), &inner));
        gradients.register(parameters.scale.id, tensor::<1>(&given.get("scale"), &inner));
        gradients.register(parameters.second.id, tensor::<2>(&given.get("second"), &inner));
        let norm;
        (parameters, norm) = optimizer.step(parameters, gradients, step.get("lr").read());
        let what = |part: &str| format!("step {}: {part}", number + 1);
        assert_close(&what("norm"), &[norm], &[step.get("norm").read()], 1e-12);
        let expected = step.get("parameters");
        assert_tensor(&what("first"), parameters.first.val(), &expected.get("first"));
        assert_tensor(&what("scale"), parameters.scale.val(), &expected.get("scale"));
        assert_tensor(&what("second"), parameters.second.val(), &expected.get("second"));
    }
    golden.finish();
}

#[test]
fn adamw_and_clipping_agree_with_pytorch() {
    steps_agree(&Device::flex());
    steps_agree(&Device::flex().autodiff());
}

fn assert_rates(what: &str, schedule: Schedule, rates: &Node) -> usize {
    let rates: Vec<(u64, f64)> = rates.read();
    for &(step, rate) in &rates {
        let error = (schedule.rate(step) - rate).abs();
        assert!(
            error <= 1e-12 * schedule.peak,
            "{what}, step {step}: {}, expected {rate}",
            schedule.rate(step)
        );
    }
    rates.len()
}

#[test]
fn learning_rates_agree_with_the_formulas() {
    let golden = Golden::open("pytorch_schedules");
    let root = golden.root();
    root.prose(&["made_with"]);
    let cases = root.get("cases").items();
    assert_eq!(cases.len(), 12);
    for case in cases {
        let kind: ScheduleKind = case.get("kind").read();
        let schedule = Schedule {
            kind,
            peak: case.get("peak").read(),
            least: case.get("least").read(),
            warmup: case.get("warmup").read(),
            total: case.get("total").read(),
            decay: case.get("decay").read(),
        };
        let count = assert_rates(&format!("{schedule:?}"), schedule, &case.get("rates"));
        assert!(count >= 9, "{schedule:?}: {count} rates");
    }
    golden.finish();
}

#[test]
fn cosine_schedules_of_the_paper() {
    let golden = Golden::open("miniplm_misc");
    let root = golden.root();
    // Trimming, mixtures, the scaling law and matched FLOPs belong to components that come later; their tests read them.
    root.prose(&["seqkd_trim", "mixture_counts", "scaling_law", "flops_match"]);
    let cases = root.get("cosine_schedule").items();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let size: String = case.get("size").read();
        let schedule = Schedule {
            kind: ScheduleKind::Cosine,
            peak: case.get("base_lr").read(),
            least: case.get("min_lr").read(),
            warmup: case.get("warmup").read(),
            total: case.get("total").read(),
            decay: 0.0,
        };
        assert_eq!(assert_rates(&size, schedule, &case.get("lr")), 9);
    }
    golden.finish();
}
