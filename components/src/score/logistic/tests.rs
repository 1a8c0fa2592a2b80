//! Logistic regression against closed forms.

use super::*;

fn fit(examples: &Examples, features: usize, l2: f64) -> Logistic {
    Logistic::fit(examples, features, l2, 100, || Ok::<(), ()>(())).expect("nothing stops it")
}

#[test]
fn one_feature_has_the_closed_form() {
    // Both sides see the feature, three in four of the wanted and one in four of the others: without a penalty the
    // log-odds are ln 3 where it is and −ln 3 where it is not.
    let mut examples = Examples::default();
    for i in 0..4 {
        examples.push(if i < 3 { &[(0, 1.0)] } else { &[] }, true);
        examples.push(if i < 1 { &[(0, 1.0)] } else { &[] }, false);
    }
    let fitted = fit(&examples, 1, 0.0);
    assert!(fitted.converged);
    let three = 3.0_f64.ln();
    assert!((fitted.log_odds(&[(0, 1.0)]) - three).abs() < 1e-6, "{fitted:?}");
    assert!((fitted.log_odds(&[]) + three).abs() < 1e-6, "{fitted:?}");
}

#[test]
fn sizes_of_the_sides_do_not_move_the_odds() {
    let with = |others: usize| {
        let mut examples = Examples::default();
        examples.push(&[(0, 1.0)], true);
        examples.push(&[(1, 1.0)], true);
        for _ in 0..others {
            examples.push(&[(1, 1.0)], false);
            examples.push(&[(2, 1.0)], false);
        }
        fit(&examples, 3, 0.1)
    };
    let (few, many) = (with(1), with(2000));
    for (a, b) in few.weights.iter().zip(&many.weights) {
        assert!((a - b).abs() < 1e-6, "{few:?} {many:?}");
    }
    assert!(few.bias.abs() < 1e-6, "{few:?}");
}

#[test]
fn large_odds_stay_finite() {
    assert_eq!(softplus(800.0), 800.0);
    assert_eq!(softplus(-800.0), 0.0);
    assert_eq!((sigmoid(800.0), sigmoid(-800.0)), (1.0, 0.0));
    assert!((softplus(0.0) - 2.0_f64.ln()).abs() < 1e-15);
}

#[test]
fn it_stops_when_told() {
    let mut examples = Examples::default();
    examples.push(&[(0, 1.0)], true);
    examples.push(&[(1, 1.0)], false);
    assert_eq!(Logistic::fit(&examples, 2, 0.1, 10, || Err(7)), Err(7));
}
