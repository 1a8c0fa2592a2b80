//! Laws of steps by a straight line through logarithms (learning law, sheet 5).

use super::law::{Law, Point};

/// A law of steps by a straight line: ln(L − L₀) = β ln B − β ln t over t > t₀ (learning law, sheet 5), and r² of the line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// L∞ = L₀, D₀ = B.
    pub law: Law,
    /// The share of the variance that the line explains.
    pub r2: f64,
    /// It goes through points beyond so many steps.
    pub from: f64,
}

/// The line through points beyond `from` steps with what is above `floor`. None for fewer than three points.
pub fn fit_line(points: &[Point], from: f64, floor: f64) -> Option<Line> {
    let on_line = points
        .iter()
        .filter(|point| point.amount > from && point.loss > floor);
    let logs: Vec<(f64, f64)> = on_line
        .map(|point| (point.amount.ln(), (point.loss - floor).ln()))
        .collect();
    let count = logs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(|log| log.0), mean(|log| log.1));
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in &logs {
        let (x, y) = (x - mean_x, y - mean_y);
        xx += x * x;
        xy += x * y;
        yy += y * y;
    }
    let beta = -xy / xx;
    let law = Law {
        irreducible: floor,
        size: None,
        log_b: mean_y + beta * mean_x,
        beta,
    };
    let r2 = xy * xy / (xx * yy);
    (logs.len() > 2 && beta > 0.0 && r2.is_finite()).then_some(Line { law, r2, from })
}

/// The line of the best r² over where it begins and what is irreducible, each given or searched: the first fifth, third and
/// half of the largest amount, and a hundredth of the lowest loss after the other.
pub(super) fn search_line(points: &[Point], from: Option<f64>, floor: Option<f64>) -> Option<Line> {
    let last = points.iter().map(|point| point.amount).fold(0.0, f64::max);
    let least = points
        .iter()
        .map(|point| point.loss)
        .fold(f64::INFINITY, f64::min);
    let starts = from.map_or_else(
        || [0.05, 0.1, 0.2, 0.3, 0.5].map(|share| share * last).to_vec(),
        |from| vec![from],
    );
    let floors = floor.map_or_else(
        || (0..100).map(|i| f64::from(i) / 100.0 * least).collect(),
        |floor| vec![floor],
    );
    let lines = starts.iter().flat_map(|&from| {
        floors
            .iter()
            .filter_map(move |&floor| fit_line(points, from, floor))
    });
    lines.fold(None, |best: Option<Line>, line| match best {
        Some(best) if best.r2 >= line.r2 => Some(best),
        _ => Some(line),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(loss: impl Fn(f64) -> f64) -> Vec<Point> {
        let point = |t: i32| Point {
            parameters: 1.0,
            amount: f64::from(t),
            loss: loss(f64::from(t)),
        };
        (1..=1000).map(point).collect()
    }

    #[test]
    fn where_a_line_begins_and_what_is_irreducible_are_found() {
        // Before step 100 the curve is none of the law's.
        let points = curve(|t| {
            let law = 0.3 + (50.0 / t).sqrt();
            if t <= 100.0 { law + 2.0 - t / 50.0 } else { law }
        });
        let line = search_line(&points, None, None).expect("a line");
        assert!(line.r2 > 0.9999, "{line:?}");
        assert!(line.from >= 100.0, "{line:?}");
        assert!((line.law.beta - 0.5).abs() < 0.02, "{line:?}");
        let given = search_line(&points, Some(100.0), Some(0.3)).expect("a line");
        assert!(
            (given.law.beta - 0.5).abs() < 1e-9 && given.r2 > 1.0 - 1e-12,
            "{given:?}"
        );
    }

    #[test]
    fn a_loss_that_does_not_fall_has_no_line() {
        let rising = curve(|t| 1.0 + t);
        assert_eq!(search_line(&rising, None, None), None);
        assert_eq!(fit_line(&rising[..2], 0.0, 0.0), None);
    }
}
