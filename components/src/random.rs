//! Named random streams: one seed, and for every consumer a stream of its own.
//!
//! A stream is ChaCha8 keyed by BLAKE3 of (seed, name), so adding a consumer shifts no other, and `Stream::at` jumps to
//! a sub-stream in constant time, which makes data order a pure function of seed and step.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

mod first;

/// A random stream, independent of every stream with another seed or name.
#[derive(Debug, Clone)]
pub struct Stream {
    rng: ChaCha8Rng,
}

impl Stream {
    /// The stream called `name` under `seed`.
    pub fn new(seed: u64, name: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("lyceum random stream v1");
        hasher.update(&seed.to_le_bytes());
        hasher.update(name.as_bytes());
        Self {
            rng: ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()),
        }
    }

    /// The sub-stream number `counter`, from its beginning: a pure function of seed, name and counter.
    #[must_use]
    pub fn at(&self, counter: u64) -> Self {
        let mut rng = self.rng.clone();
        rng.set_stream(counter.wrapping_add(1));
        rng.set_word_pos(0);
        Self { rng }
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// Uniform in the open interval (0, 1), on a grid of 2^-53 shifted by half a step: never 0, never 1.
    pub fn uniform(&mut self) -> f64 {
        uniform_of(self.bits())
    }

    /// The first uniform number of the sub-stream of every counter, as `at(counter).uniform()` gives it, some at a time:
    /// for draws of which every item has one.
    pub fn uniforms_at(&self, counters: &[u64]) -> Vec<f64> {
        let streams: Vec<u64> = counters.iter().map(|counter| counter.wrapping_add(1)).collect();
        let bits = first::bits(self.rng.get_seed(), &streams);
        bits.into_iter().map(uniform_of).collect()
    }

    /// Uniform in `0..bound`, without bias (Lemire's multiply-and-reject). `bound` must be positive.
    pub fn below(&mut self, bound: u64) -> u64 {
        debug_assert!(bound > 0);
        loop {
            let wide = u128::from(self.bits()) * u128::from(bound);
            if (wide as u64) >= bound.wrapping_neg() % bound {
                return (wide >> 64) as u64;
            }
        }
    }

    /// Standard normal, by Box and Muller's transform; draws two uniforms.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Shuffles in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// The middle of the grid's step that the leading 53 bits name.
fn uniform_of(bits: u64) -> f64 {
    ((bits >> 11) as f64 + 0.5) * (1.0 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_with_other_names_or_seeds_differ_and_equal_ones_agree() {
        let draw = |seed, name: &str| Stream::new(seed, name).bits();
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
    }

    #[test]
    fn a_sub_stream_does_not_depend_on_what_was_drawn_before() {
        let fresh = Stream::new(7, "order");
        let mut used = fresh.clone();
        used.bits();
        assert_eq!(fresh.at(3).bits(), used.at(3).bits());
        assert_ne!(fresh.at(3).bits(), fresh.at(4).bits());
    }

    #[test]
    fn moments_are_those_of_the_named_distributions() {
        let mut stream = Stream::new(0, "moments");
        let n = 20_000_i32;
        let uniform: f64 = (0..n).map(|_| stream.uniform()).sum::<f64>() / f64::from(n);
        assert!((uniform - 0.5).abs() < 0.01, "{uniform}");
        let normal: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        let variance = normal.iter().map(|x| x * x).sum::<f64>() / f64::from(n);
        assert!((variance - 1.0).abs() < 0.05, "{variance}");
        let mut counts = [0_i32; 5];
        (0..n).for_each(|_| counts[stream.below(5) as usize] += 1);
        assert!(counts.iter().all(|&c| (c - n / 5).abs() < 300), "{counts:?}");
    }
}
