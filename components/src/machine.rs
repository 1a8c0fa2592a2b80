//! What this machine can do at best: the rate that times are estimated from and use is measured against.

use burn::tensor::{Device, Distribution, Tensor};
use std::time::{Duration, Instant};

/// How long to measure.
const TIME: Duration = Duration::from_millis(600);

/// FLOP/s of f32 matrix products on `device`: the fastest of a few square products, after one to warm up. `size` is the
/// side of the matrices; 1024 keeps a processor busy, a large accelerator wants 8192.
pub fn matrix_rate(device: &Device, size: usize) -> f64 {
    let draw = || Tensor::<2>::random([size, size], Distribution::Uniform(-1.0, 1.0), device);
    let (a, b) = (draw(), draw());
    let product = || {
        let start = Instant::now();
        // Reading one number waits for the product on every kind of device.
        let _ = a.clone().matmul(b.clone()).slice([0..1, 0..1]).into_data();
        start.elapsed()
    };
    product();
    let (mut best, start) = (Duration::MAX, Instant::now());
    while start.elapsed() < TIME {
        best = best.min(product());
    }
    2.0 * (size as f64).powi(3) / best.as_secs_f64().max(1e-9)
}

/// Rounds of a fixed piece of work that this machine does in a second, measured for about one: 1.07 GFLOP of f32 matrix
/// products on `device`, and 64 MiB copied. The mean and not the best: other work on the machine slows this down as it
/// slows down what is compared with it.
pub fn calibration_rate(device: &Device) -> f64 {
    const SIZE: usize = 512;
    const PRODUCTS: usize = 4;
    const BYTES: usize = 64 << 20;
    const TIME: Duration = Duration::from_secs(1);
    let draw = || Tensor::<2>::random([SIZE, SIZE], Distribution::Uniform(-1.0, 1.0), device);
    let (a, b) = (draw(), draw());
    let from = vec![1_u8; BYTES];
    let mut to = vec![0_u8; BYTES];
    let mut round = || {
        for _ in 0..PRODUCTS {
            let _ = a.clone().matmul(b.clone()).slice([0..1, 0..1]).into_data();
        }
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
    };
    round();
    let start = Instant::now();
    let mut rounds = 0;
    while start.elapsed() < TIME {
        round();
        rounds += 1;
    }
    f64::from(rounds) / start.elapsed().as_secs_f64()
}
