//! Laws of the loss: `miniplm_misc.json` and `pds_baselines.json` (sizes and tokens), `learning_law_scaling.json` (steps), and
//! the acceleration that two laws come to.

use lyceum_components::analyze::{Between, Law, Point, first_at, fit_joint, fit_line, fit_single};
use lyceum_tests::{Golden, Node};

/// The corner of Huber's function in the papers.
const DELTA: f64 = 1e-3;

/// Within `tolerance`, relative.
#[track_caller]
fn close(what: &str, found: f64, expected: f64, tolerance: f64) {
    let off = (found / expected - 1.0).abs();
    assert!(
        off <= tolerance,
        "{what}: {found}, expected {expected}; off by {off:e}"
    );
}

fn joint(node: &Node) -> Law {
    let number = |name: &str| node.get(name).read::<f64>();
    Law {
        irreducible: number("E"),
        size: Some((number("A").ln(), number("alpha"))),
        log_b: number("B").ln(),
        beta: number("beta"),
    }
}

fn points(grid: &Node) -> Vec<Point> {
    let point = |node: &Node| Point {
        parameters: node.get("N").read(),
        amount: node.get("D").read(),
        loss: node.get("L").read(),
    };
    grid.items().iter().map(point).collect()
}

/// A fit to the law's own losses finds the law, and says the same of larger trainings.
fn recovers(what: &str, law: &Law, grid: &Node, predictions: &Node) -> Law {
    let measured = points(grid);
    for point in &measured {
        close(what, law.loss(point.parameters, point.amount), point.loss, 1e-12);
    }
    let found = fit_joint(&measured, DELTA).expect("a law");
    let ((log_a, alpha), (true_log_a, true_alpha)) = (found.size.expect("sizes"), law.size.expect("sizes"));
    close(&format!("{what}: E"), found.irreducible, law.irreducible, 1e-9);
    close(&format!("{what}: ln A"), log_a, true_log_a, 1e-9);
    close(&format!("{what}: alpha"), alpha, true_alpha, 1e-9);
    close(&format!("{what}: ln B"), found.log_b, law.log_b, 1e-9);
    close(&format!("{what}: beta"), found.beta, law.beta, 1e-9);
    for point in points(predictions) {
        let loss = found.loss(point.parameters, point.amount);
        close(&format!("{what}: {point:?}"), loss, point.loss, 1e-9);
    }
    found
}

#[test]
fn a_law_of_three_sizes_is_found_again() {
    let golden = Golden::open("miniplm_misc");
    let root = golden.root();
    let case = root.get("scaling_law");
    case.prose(&["form"]);
    let law = joint(&case);
    assert_eq!(case.get("grid").items().len(), 15);
    assert_eq!(case.get("predictions").items().len(), 6);
    recovers("MiniPLM", &law, &case.get("grid"), &case.get("predictions"));

    // A second law with a smaller term of tokens comes to the first one's loss sooner.
    let equal = case.get("equal_loss");
    let number = |name: &str| equal.get(name).read::<f64>();
    let sooner = Law {
        log_b: number("law2_B").ln(),
        ..law
    };
    let (n, d) = (number("N"), number("D"));
    close("target", law.loss(n, d), number("target"), 1e-12);
    let needed = sooner.amount(n, law.loss(n, d)).expect("it is reached");
    close("tokens", needed, number("D_equal"), 1e-9);
    let acceleration = sooner.acceleration(&law, n, d).expect("it is reached");
    close("acceleration", acceleration, number("acceleration"), 1e-9);

    // The law of one of the sizes, from its own points.
    let one = case.get("one_size");
    one.prose(&["form"]);
    let (n, floor): (f64, f64) = (one.get("N").read(), one.get("Linf").read());
    let own: Vec<Point> = points(&case.get("grid"))
        .into_iter()
        .filter(|point| point.parameters == n)
        .collect();
    assert_eq!(own.len(), 5);
    let found = fit_single(&own, DELTA).expect("a law");
    close("Linf", found.irreducible, floor, 1e-9);
    close("D0", (found.log_b / found.beta).exp(), one.get("D0").read(), 1e-6);
    close("at 1e12", found.loss(n, 1e12), one.get("L_at_1e12").read(), 1e-9);
    // Read by the tests of schedules, of choosing and of budgets.
    root.prose(&["cosine_schedule", "seqkd_trim", "mixture_counts", "flops_match"]);
    golden.finish();
}

#[test]
fn a_law_of_four_sizes_is_found_again() {
    let golden = Golden::open("pds_baselines");
    let root = golden.root();
    // Read by the test of scores.
    root.prose(&[
        "vocab",
        "pad_id",
        "max_length",
        "theta",
        "theta_ref",
        "corpus",
        "dev",
        "expected",
        "rules",
    ]);
    let root = root.get("scaling_law");
    let law = joint(&root);
    for list in ["grid", "predict"] {
        for case in root.get(list).items() {
            case.prose(&[if list == "grid" { "size" } else { "name" }]);
        }
    }
    assert_eq!(root.get("grid").items().len(), 20);
    assert_eq!(root.get("predict").items().len(), 4);
    recovers("PDS", &law, &root.get("grid"), &root.get("predict"));
    golden.finish();
}

#[test]
fn laws_of_steps_and_their_acceleration_agree_with_the_fixture() {
    let golden = Golden::open("learning_law_scaling");
    let root = golden.root();
    root.prose(&["about"]);
    let fits = root.get("fits").items();
    assert_eq!(fits.len(), 3);
    for case in &fits {
        let number = |name: &str| case.get(name).read::<f64>();
        let (b, beta, floor, last) = (number("B"), number("beta"), number("L0"), number("T") as u32);
        let law = steps(b, beta, floor);
        let curve = |t: u32| Point {
            parameters: 1.0,
            amount: f64::from(t),
            loss: law.loss(1.0, f64::from(t)),
        };
        let at = case.get("curve_at").entries();
        assert_eq!(at.len(), 3);
        for (t, expected) in at {
            close(
                "curve",
                curve(t.parse().expect("a step")).loss,
                expected.read(),
                1e-12,
            );
        }
        let points: Vec<Point> = (1..=last).map(curve).collect();
        let line = fit_line(&points, number("t0"), floor).expect("a line");
        close("B", (line.law.log_b / line.law.beta).exp(), number("fit_B"), 1e-8);
        close("beta", line.law.beta, number("fit_beta"), 1e-8);
        close("r2", line.r2, number("fit_r2"), 1e-8);
    }

    let cases = root.get("acceleration").items();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let number = |name: &str| case.get(name).read::<f64>();
        let last = number("T");
        let (slow, fast) = (
            steps(number("B1"), number("beta1"), 0.051),
            steps(number("B2"), number("beta2"), 0.051),
        );
        let expected = number("acceleration");
        let found = fast.acceleration(&slow, 1.0, last).expect("it is reached");
        close("acceleration", found, expected, 1e-9);
        // What curves measured at every step come to is the same up to the step that is not between two.
        if last <= 4000.0 {
            let curve: Vec<(f64, f64)> = (1..=last as u32)
                .map(|t| (f64::from(t), fast.loss(1.0, f64::from(t))))
                .collect();
            let first = first_at(&curve, slow.loss(1.0, last), Between::Measurements).expect("it is reached");
            assert_eq!(first, (last / expected).ceil());
            let between = first_at(&curve, slow.loss(1.0, last), Between::Lines).expect("it is reached");
            close("between measurements", last / between, expected, 1e-5);
        }
    }
    golden.finish();
}

fn steps(b: f64, beta: f64, floor: f64) -> Law {
    Law {
        irreducible: floor,
        size: None,
        log_b: beta * b.ln(),
        beta,
    }
}
