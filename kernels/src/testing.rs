//! The test that every differentiable operation passes.

use burn::tensor::{DType, Device, Tensor, TensorCreationOptions, TensorData};

#[cfg(target_arch = "x86_64")]
use crate::simd::{Level, forced};

/// Deterministic values in `[-scale, scale]`, exact in f32.
pub(crate) fn values(seed: u64, count: usize, scale: f64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    (0..count).map(|_| f64::from((next() * scale) as f32)).collect()
}

/// Where tensors of the tests lie: on the CPU, or f32 ones on the GPU that `LYCEUM_TEST_DEVICE` names (`cuda`, `wgpu`) where
/// it was built in. f64, which the rest is tested against, always lies on the CPU.
fn device(dtype: DType) -> Device {
    let wanted = std::env::var("LYCEUM_TEST_DEVICE").ok();
    match wanted.as_deref().filter(|_| dtype == DType::F32) {
        None => Device::flex(),
        #[cfg(feature = "cuda")]
        Some("cuda") => Device::cuda(0),
        #[cfg(feature = "wgpu")]
        Some("wgpu") => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        Some(other) => panic!("`{other}` was not built in"),
    }
}

/// Whether tests in f32 run on a GPU.
pub(crate) fn on_gpu() -> bool {
    device(DType::F32) != Device::flex()
}

/// How far f32 may be off: on a GPU four times as much, where sums over a row are taken one after the other.
pub(crate) fn tolerance(on_cpu: f64) -> f64 {
    if on_gpu() { 4.0 * on_cpu } else { on_cpu }
}

/// A tensor of `values`, tracked or not.
pub(crate) fn tensor<const D: usize>(
    values: &[f64],
    shape: [usize; D],
    dtype: DType,
    tracked: bool,
) -> Tensor<D> {
    let device = device(dtype);
    let device = if tracked { device.autodiff() } else { device };
    let data = TensorData::new(values.to_vec(), shape);
    let tensor = Tensor::from_data(data, TensorCreationOptions::new(device).with_dtype(dtype));
    if tracked { tensor.require_grad() } else { tensor }
}

/// A tensor's values.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Runs `work` on a pool of `threads` threads, which take no better instructions than this one.
pub(crate) fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    #[cfg(target_arch = "x86_64")]
    let pool = {
        let most = forced::most();
        pool.start_handler(move |_| forced::set(most))
    };
    pool.build().expect("a pool starts").install(work)
}

/// Runs `work` on two threads with the architecture's baseline, then with every better level of instructions that this
/// processor has.
pub(crate) fn on_every_level(work: impl Fn() + Sync) {
    #[cfg(target_arch = "x86_64")]
    for level in [Level::Portable, Level::Avx2, Level::Avx512] {
        let before = forced::most();
        forced::set(level);
        if crate::simd::level() == level {
            on_threads(2, &work);
        }
        forced::set(before);
    }
    #[cfg(not(target_arch = "x86_64"))]
    on_threads(2, work);
}

/// Values agree to `tolerance` of the greatest magnitude, or of one where all are smaller.
#[track_caller]
pub(crate) fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: number of values");
    let scale = expected.iter().fold(1.0, |max: f64, value| max.max(value.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(found.is_finite(), "{what}: element {i} is {found}");
        assert!(
            (found - expected).abs() <= tolerance * scale,
            "{what}: element {i} is {found}, expected {expected} (scale {scale})"
        );
    }
}

/// Value and gradients of `Σ direction · operation(inputs)`.
fn evaluate<const D: usize, const E: usize, const N: usize>(
    inputs: &[(Vec<f64>, [usize; D]); N],
    operation: &impl Fn([Tensor<D>; N]) -> Tensor<E>,
    dtype: DType,
) -> Vec<Vec<f64>> {
    let leaves = inputs
        .each_ref()
        .map(|(values, shape)| tensor(values, *shape, dtype, true));
    let value = operation(leaves.clone());
    let direction = tensor(
        &values(99, value.shape().num_elements(), 1.0),
        value.dims(),
        dtype,
        false,
    )
    .autodiff();
    let gradients = (value.clone() * direction).sum().backward();
    let mut results = vec![host(value.without_autodiff())];
    results.extend(
        leaves
            .into_iter()
            .map(|leaf| host(leaf.grad(&gradients).expect("every input gets a gradient"))),
    );
    results
}

/// Checks an operation, forward and backward: f64 against central differences, and with every level of instructions f32
/// against f64, tracked against untracked, and the bytes of f32 on one, two and three threads against each other.
#[track_caller]
pub(crate) fn check<const D: usize, const E: usize, const N: usize>(
    inputs: &[(Vec<f64>, [usize; D]); N],
    operation: impl Fn([Tensor<D>; N]) -> Tensor<E> + Sync,
) {
    let exact = evaluate(inputs, &operation, DType::F64);
    check_differences(inputs, &operation, &exact);
    on_every_level(|| {
        let single = on_threads(1, || evaluate(inputs, &operation, DType::F32));
        for (i, (found, expected)) in single.iter().zip(&exact).enumerate() {
            assert_close(&format!("result {i}"), found, expected, tolerance(5e-6));
        }
        let untracked = inputs
            .each_ref()
            .map(|(values, shape)| tensor(values, *shape, DType::F32, false));
        assert_eq!(host(operation(untracked)), single[0], "untracked");
        for threads in [2, 3] {
            let several = on_threads(threads, || evaluate(inputs, &operation, DType::F32));
            assert!(several == single, "bytes differ on {threads} threads");
        }
    });
}

/// Gradients in f64 against central differences, at up to forty elements of each input.
#[track_caller]
fn check_differences<const D: usize, const E: usize, const N: usize>(
    inputs: &[(Vec<f64>, [usize; D]); N],
    operation: &impl Fn([Tensor<D>; N]) -> Tensor<E>,
    exact: &[Vec<f64>],
) {
    let direction = values(99, exact[0].len(), 1.0);
    let objective = |inputs: &[(Vec<f64>, [usize; D]); N]| -> f64 {
        let leaves = inputs
            .each_ref()
            .map(|(values, shape)| tensor(values, *shape, DType::F64, false));
        host(operation(leaves))
            .iter()
            .zip(&direction)
            .map(|(value, direction)| value * direction)
            .sum()
    };
    for input in 0..N {
        let count = inputs[input].0.len();
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        for element in (0..count).step_by(count.div_ceil(40)) {
            let step = 1e-5 * inputs[input].0[element].abs().max(1.0);
            let mut moved = inputs.clone();
            moved[input].0[element] += step;
            let above = objective(&moved);
            moved[input].0[element] -= 2.0 * step;
            expected.push((above - objective(&moved)) / (2.0 * step));
            found.push(exact[1 + input][element]);
        }
        assert_close(
            &format!("gradient {input} against differences"),
            &found,
            &expected,
            2e-6,
        );
    }
}
