//! Whether a model is right as often as it is sure.

/// Answers whose confidence lies in one bin.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bin {
    /// How many there are.
    pub count: u64,
    /// Their confidences, added up.
    pub confidence: f64,
    /// How many of them are right.
    pub correct: u64,
}

/// Answers by confidence, in bins of equal width: the i-th of n holds those above i/n and up to (i+1)/n, the first also
/// those of 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// The bins, ascending.
    pub bins: Vec<Bin>,
}

impl Calibration {
    /// No answers yet, in so many bins.
    pub fn new(bins: usize) -> Self {
        Self {
            bins: vec![Bin::default(); bins.max(1)],
        }
    }

    /// The bin of a confidence.
    pub fn place(&self, confidence: f64) -> usize {
        let bins = self.bins.len();
        let place = (confidence * bins as f64).ceil() as usize;
        place.clamp(1, bins) - 1
    }

    /// Adds an answer.
    pub fn add(&mut self, confidence: f64, correct: bool) {
        let place = self.place(confidence);
        let bin = &mut self.bins[place];
        bin.count += 1;
        bin.confidence += confidence;
        bin.correct += u64::from(correct);
    }

    /// The expected calibration error Σ_b |B_b|/n · |acc − conf| (Naeini et al. 2015); 0 without answers.
    pub fn error(&self) -> f64 {
        let count: u64 = self.bins.iter().map(|bin| bin.count).sum();
        let gaps: f64 = self.bins.iter().map(Bin::gap).map(f64::abs).sum();
        gaps / count.max(1) as f64
    }
}

impl Bin {
    /// How many more are right than the confidences say.
    pub fn gap(&self) -> f64 {
        self.correct as f64 - self.confidence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_belong_to_the_bin_below() {
        let calibration = Calibration::new(5);
        let places = [0.0, 0.1, 0.2, 0.200_001, 0.8, 1.0].map(|confidence| calibration.place(confidence));
        assert_eq!(places, [0, 0, 0, 1, 3, 4]);
    }

    #[test]
    fn who_is_right_as_often_as_sure_has_no_error() {
        let mut calibration = Calibration::new(10);
        for correct in [true, true, true, false] {
            calibration.add(0.75, correct);
        }
        assert_eq!(calibration.error(), 0.0);
        calibration.add(0.25, true);
        assert!((calibration.error() - 0.75 / 5.0).abs() < 1e-15);
        assert_eq!(Calibration::new(3).error(), 0.0);
    }
}
