//! Reports beside the figures of a fixture.

use lyceum_components::policy::{LawReport, acceleration};
use lyceum_tests::Node;

/// Compares a report with the figures of a fixture; `tolerance` is relative to what they are made of.
pub(crate) fn report_agrees(report: &LawReport, stats: &Node, width: usize, tolerance: f64) {
    let close = |name: &str, ours: f64, tolerance: f64| {
        let theirs: f64 = stats.get(name).read();
        assert!(
            (ours - theirs).abs() <= tolerance,
            "{name}: {ours}, expected {theirs}"
        );
    };
    let steps = report.support.len();
    close("auc_dev", report.area_target(), tolerance);
    close("auc_test", report.area_test(), tolerance);
    let ratio = 1.0 / report.area_test();
    close("cr_nats", std::f64::consts::LN_2 * ratio, 100.0 * tolerance);
    close("cr_log2_over_nats", ratio, 100.0 * tolerance);
    close("dev_final", report.target[steps], tolerance);
    close("test_final", report.test[steps], tolerance);
    close("test_0", report.test[0], tolerance);
    let means = [
        ("sim_grad_test_mean", &report.similarity_test),
        ("sim_grad_dev_mean", &report.similarity_target),
        ("sim_costate_dev_mean", &report.similarity_costate),
    ];
    for (name, curve) in means {
        let finite: Vec<f64> = curve.iter().copied().filter(|x| x.is_finite()).collect();
        let mean = finite.iter().sum::<f64>() / finite.len() as f64;
        close(name, mean, 100.0 * tolerance);
    }
    for (name, curve) in [
        ("sim_grad_test_median", &report.similarity_test),
        ("sim_costate_dev_median", &report.similarity_costate),
    ] {
        let mut sorted: Vec<f64> = curve.iter().copied().filter(|x| x.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        close(name, f64::midpoint(low, high), 100.0 * tolerance);
    }
    if stats.find("kkt_gap_sum").is_some() {
        let gap: f64 = report.gap.iter().sum();
        close("kkt_gap_sum", gap, 1e3 * tolerance * gap.max(1.0));
    }
    // An entry within rounding of zero may fall on either side.
    let entries = (steps * width) as f64;
    let used: usize = report.support.iter().sum();
    let slack = 1e3 * tolerance;
    close("zero_weight_fraction", 1.0 - used as f64 / entries, slack);
    close(
        "support_size_mean",
        used as f64 / steps as f64,
        slack * width as f64,
    );
    let opposed: usize = report.opposed.iter().sum();
    let unused: usize = report.opposed_unused.iter().sum();
    let share = unused as f64 / opposed.max(1) as f64;
    close("zero_weight_fraction_where_ct_le_0", share, slack);
    for (step, size) in stats.get("support_size_t").entries() {
        let ours = report.support[step.parse::<usize>().expect("a step")] as f64;
        assert!(
            (ours - size.read::<f64>()).abs() <= slack * width as f64,
            "support at {step}"
        );
    }
    for (name, curve) in [
        ("sim_grad_test_t", &report.similarity_test),
        ("sim_costate_dev_t", &report.similarity_costate),
    ] {
        for (step, expected) in stats.get(name).entries() {
            let ours = curve[step.parse::<usize>().expect("a step")];
            let expected: f64 = expected.read();
            assert!(
                (ours - expected).abs() <= 1e3 * tolerance * expected.abs().max(1.0),
                "{name} {step}"
            );
        }
    }
}

pub(crate) fn accelerations_agree(stats: &Node, base: &LawReport, report: &LawReport) {
    for (name, base, curve) in [
        ("acceleration_test", &base.test, &report.test),
        ("acceleration_dev", &base.target, &report.target),
    ] {
        let times: Option<f64> = stats.get(name).read();
        let step: i64 = match name {
            "acceleration_test" => stats.get("acceleration_step").read(),
            _ => stats.get("acceleration_dev_step").read(),
        };
        let ours = acceleration(base, curve);
        assert_eq!(
            ours.map(|(_, step)| step as i64),
            (step >= 0).then_some(step),
            "{name}"
        );
        assert_eq!(ours.map(|(times, _)| times), times, "{name}");
    }
}
