//! Estimates of the gradient from drawn sequences, on the space of `minillm_enum.json`.

use crate::enumerable::{ESTIMATORS, estimator};
use crate::space::{Space, distance};
use lyceum_components::random::Stream;
use lyceum_tests::Golden;

struct Setting {
    space: Space,
    student: Vec<f64>,
    teacher: Vec<f64>,
    alpha: f64,
}

impl Setting {
    fn open() -> Self {
        let golden = Golden::open("minillm_enum");
        let root = golden.root();
        Self {
            space: Space::read(&root),
            student: root.get("student_logits").tensor().1,
            teacher: root.get("teacher_logits").tensor().1,
            alpha: root.get("alpha").read(),
        }
    }

    /// Probabilities of the sequences under the student, or under the mixture.
    fn probabilities(&self, student: &[f64], mixed: bool) -> Vec<f64> {
        let log_q = self.space.log_likelihoods(student);
        let log_p = self.space.log_likelihoods(&self.teacher);
        let alpha = if mixed { self.alpha } else { 0.0 };
        let mix = |(log_q, log_p): (&f64, &f64)| (alpha * log_p.exp() + (1.0 - alpha) * log_q.exp()).ln();
        let logs: Vec<f64> = log_q.iter().zip(&log_p).map(mix).collect();
        self.space.probabilities(&logs)
    }
}

/// How often each of the sequences comes up in `draws`, as shares.
fn shares(probabilities: &[f64], draws: u32, stream: &mut Stream) -> Vec<f64> {
    let mut counts = vec![0.0; probabilities.len()];
    for _ in 0..draws {
        let mut left = stream.uniform();
        let drawn = probabilities.iter().position(|p| {
            left -= p;
            left < 0.0
        });
        counts[drawn.unwrap_or(probabilities.len() - 1)] += 1.0 / f64::from(draws);
    }
    counts
}

/// The mean of what the sequences give, and the variance of one, element by element.
fn moments(by_sequence: &[Vec<f64>], shares: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let sum = |of: &dyn Fn(f64) -> f64, i: usize| -> f64 {
        by_sequence
            .iter()
            .zip(shares)
            .map(|(g, share)| share * of(g[i]))
            .sum()
    };
    let elements = 0..by_sequence[0].len();
    let mean: Vec<f64> = elements.clone().map(|i| sum(&|g| g, i)).collect();
    let variance = elements.map(|i| sum(&|g| (g - mean[i]).powi(2), i)).collect();
    (mean, variance)
}

#[test]
fn drawn_estimates_converge_to_the_exact_gradient_unless_they_are_biased() {
    const DRAWS: u32 = 20_000;
    let setting = Setting::open();
    let Setting {
        space,
        student,
        teacher,
        alpha,
    } = &setting;
    let exact = space.reverse_kl(student, teacher).1;
    let count = space.sequences.len();
    let mut variances = Vec::new();
    for (name, mixed, estimator) in ESTIMATORS {
        let only = |k: usize| (0..count).map(move |i| f64::from(i == k)).collect::<Vec<f64>>();
        let by_sequence: Vec<Vec<f64>> = (0..count)
            .map(|k| space.estimate([student, teacher], *alpha, estimator, &only(k)))
            .collect();
        let probabilities = setting.probabilities(student, mixed);
        let drawn = shares(&probabilities, DRAWS, &mut Stream::new(0, name));
        let (mean, variance) = moments(&by_sequence, &drawn);
        // Standard errors away from the exact gradient, at the element that is farthest.
        let away = (0..exact.len()).map(|i| {
            let error = (variance[i] / f64::from(DRAWS)).sqrt();
            (mean[i] - exact[i]).abs() / error.max(1e-15)
        });
        let away = away.fold(0.0, f64::max);
        let unbiased = ["pg_R_minus_1", "pg_R", "decomposed", "mixed_full_product"].contains(&name);
        assert_eq!(away < 4.0, unbiased, "{name}: {away} standard errors");
        let total: f64 = moments(&by_sequence, &probabilities).1.iter().sum();
        variances.push((name, total));
    }
    // Exact variances of one sequence: the −1 raises it, taking the single step out lowers it.
    for (name, expected) in [("pg_R", 3.750), ("pg_R_minus_1", 6.876), ("decomposed", 1.965)] {
        let (_, found) = variances.iter().find(|(known, _)| *known == name).expect(name);
        assert!((found - expected).abs() < 5e-4, "{name}: {found}");
    }
}

#[test]
fn descent_along_exact_and_along_drawn_gradients_reaches_the_teacher() {
    const RATE: f64 = 0.5;
    let setting = Setting::open();
    let (space, teacher) = (&setting.space, &setting.teacher);
    let step = |table: &mut Vec<f64>, gradient: &[f64]| {
        table.iter_mut().zip(gradient).for_each(|(z, g)| *z -= RATE * g);
    };
    let mut table = setting.student.clone();
    for at in 0..=200 {
        let (kl, gradient) = space.reverse_kl(&table, teacher);
        let expected = [(0, 1.1027), (50, 0.0290), (200, 0.0031)]
            .into_iter()
            .find(|(told, _)| *told == at);
        if let Some((_, expected)) = expected {
            assert!((kl - expected).abs() < 5e-5, "{kl} after {at} steps");
        }
        step(&mut table, &gradient);
    }
    let mut table = setting.student.clone();
    let stream = Stream::new(0, "descent");
    for at in 0..200 {
        let drawn = shares(&setting.probabilities(&table, false), 64, &mut stream.at(at));
        let gradient = space.estimate([&table, teacher], 0.0, estimator("decomposed"), &drawn);
        step(&mut table, &gradient);
    }
    let (kl, _) = space.reverse_kl(&table, teacher);
    assert!(kl < 0.02, "{kl}");
    assert!(distance(&table, &setting.student) > 0.1);
}
