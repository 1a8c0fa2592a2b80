//! `dpkd_seq.json`: preferences among whole sequences, and their gradients by both sides' logits.

use crate::fixture::{assert_near, host, ids, tensor, through_identity, vector};
use burn::tensor::{DType, Tensor};
use lyceum_components::distill::of_likelihoods;
use lyceum_components::distill::preference::{
    Form, Preference, Rule, Side, sequence_log_likelihoods, sequence_preference,
};
use lyceum_kernels::{Products, linear_nll};
use lyceum_tests::{Golden, Node};

fn rule(case: &Node) -> Rule {
    let name: String = case.get("name").read();
    let beta: Option<f64> = case.get("beta").read();
    let extra: Option<f64> = case.get("gamma_or_tau").read();
    let settings = Preference {
        form: match name.as_str() {
            "dpkd" | "dpkd_length_norm" => Form::Dpkd,
            "ipo" => Form::Ipo,
            "cpo" => Form::Cpo,
            "simpo" => Form::Simpo,
            other => panic!("no form {other}"),
        },
        beta: beta.unwrap_or(1.0),
        length_norm: (name == "dpkd").then_some(false),
        tau: extra.unwrap_or(1.0),
        margin: extra.unwrap_or(0.0),
        ..Preference::default()
    };
    assert!(settings.problems("preference").is_empty());
    settings.rule()
}

/// One side of the pairs.
struct Answers {
    student: Vec<f64>,
    logp: Vec<f64>,
    targets: Vec<i64>,
    lengths: Vec<f64>,
    mask: Vec<f64>,
}

impl Answers {
    fn read(root: &Node, name: &str, [width, v]: [usize; 2]) -> Self {
        let targets: Vec<i64> = root.get(&format!("y_{name}")).read::<Vec<Vec<i64>>>().concat();
        let lengths = root.get(&format!("len_{name}")).tensor().1;
        let mask = (0..targets.len()).map(|i| f64::from((i % width) < lengths[i / width] as usize));
        let mask: Vec<f64> = mask.collect();
        let teacher = root.get(&format!("teacher_on_y{name}")).tensor().1;
        let teacher = crate::fixture::logits(&teacher, v, DType::F64, false);
        let nll_n = linear_nll(
            teacher.hidden_nd,
            teacher.head_vd,
            None,
            ids(&targets),
            Products::Full,
        );
        let sums = sequence_log_likelihoods(nll_n.neg(), &vector(&mask, DType::F64), width);
        Self {
            student: root.get(&format!("student_on_y{name}")).tensor().1,
            logp: host(sums),
            targets,
            lengths,
            mask,
        }
    }
}

#[test]
fn answers_are_compared_whole() {
    let golden = Golden::open("dpkd_seq");
    let root = golden.root();
    root.prose(&["about"]);
    let (shape, _) = root.get("student_on_yt").tensor();
    let [pairs, width, v] = [shape[0], shape[1], shape[2]];
    let sides = ["t", "s"].map(|name| Answers::read(&root, name, [width, v]));
    let both = |of: fn(&Answers) -> &Vec<f64>| sides.iter().flat_map(of).copied().collect::<Vec<f64>>();
    let targets: Vec<i64> = sides.iter().flat_map(|side| side.targets.clone()).collect();
    let mask = both(|side| &side.mask);
    let cases = root.get("cases").items();
    assert_eq!(cases.len(), 7);
    for case in cases {
        let rule = rule(&case);
        for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
            let near = |key: &str, found: &[f64]| {
                let what = format!("{key} of {rule:?} in {dtype:?}");
                assert_near(&what, found, &case.get(key).tensor().1, tolerance);
            };
            let hidden = sides
                .each_ref()
                .map(|side| tensor(&side.student, [pairs * width, v], dtype, true));
            let projection = through_identity(Tensor::cat(hidden.to_vec(), 0));
            let compare = |logq: [Tensor<1>; 2]| {
                let side = |i: usize| Side {
                    logq_m: logq[i].clone(),
                    logp_m: vector(&sides[i].logp, dtype),
                    tokens_m: vector(&sides[i].lengths, dtype),
                };
                let weights = vector(&vec![1.0 / pairs as f64; pairs], dtype);
                sequence_preference(&side(0), &side(1), &rule, weights)
            };
            let found = of_likelihoods(projection, ids(&targets), Products::Full, |logp_n| {
                let sums = sequence_log_likelihoods(logp_n, &vector(&mask, dtype), width);
                let logq = [0, pairs].map(|start| sums.clone().narrow(0, start, pairs));
                let found = compare(logq);
                (found.loss.clone(), found)
            });
            near("h", &host(found.other.margin_m.clone()));
            near("per_pair", &host(found.other.loss_m.clone()));
            let wins = host(found.other.margin_m).iter().filter(|h| **h > 0.0).count();
            near("win_rate", &[wins as f64 / pairs as f64]);
            near("loss", &host(found.loss.clone().without_autodiff()));
            let gradients = found.loss.backward();
            for (leaf, key) in hidden.iter().zip(["grad_student_on_yt", "grad_student_on_ys"]) {
                near(key, &host(leaf.grad(&gradients).expect("a leaf's gradient")));
            }

            // The same by the sequences' log-likelihoods alone.
            let sums = host(sequence_log_likelihoods(
                found.logp_n,
                &vector(&mask, dtype),
                width,
            ));
            near("logq_yt", &sums[..pairs]);
            near("logq_ys", &sums[pairs..]);
            near("logp_yt", &sides[0].logp);
            near("logp_ys", &sides[1].logp);
            let leaves = [&sums[..pairs], &sums[pairs..]].map(|sums| tensor(sums, [pairs], dtype, true));
            let found = compare(leaves.clone());
            let gradients = found.loss.backward();
            for (leaf, key) in leaves.iter().zip(["dloss_dlogq_yt", "dloss_dlogq_ys"]) {
                near(key, &host(leaf.grad(&gradients).expect("a leaf's gradient")));
            }
            for (reward, i) in [(found.chosen_reward_m, 0), (found.rejected_reward_m, 1)] {
                let (reward, side) = (host(reward), &sides[i]);
                let expected = (0..pairs).map(|m| {
                    let teacher = if rule.with_teacher { side.logp[m] } else { 0.0 };
                    let length = if rule.length_norm { side.lengths[m] } else { 1.0 };
                    rule.beta * (sums[i * pairs + m] - teacher) / length
                });
                assert_near("reward", &reward, &expected.collect::<Vec<_>>(), tolerance);
            }
        }
    }
    golden.finish();
}

#[test]
fn swapping_the_sides_turns_the_margin_around() {
    let side = |logq: &[f64], logp: &[f64], tokens: f64| Side {
        logq_m: vector(logq, DType::F64),
        logp_m: vector(logp, DType::F64),
        tokens_m: vector(&[tokens, 2.0 * tokens], DType::F64),
    };
    let rule = Preference::default().rule();
    let (chosen, rejected) = (
        side(&[-3.0, -8.0], &[-5.0, -4.0], 2.0),
        side(&[-6.0, -2.0], &[-4.0, -3.0], 3.0),
    );
    let weights = || vector(&[0.5, 0.5], DType::F64);
    let found = sequence_preference(&chosen, &rejected, &rule, weights());
    let swapped = sequence_preference(&rejected, &chosen, &rule, weights());
    let [margin, turned] = [&found, &swapped].map(|found| host(found.margin_m.clone()));
    let [loss, other] = [&found, &swapped].map(|found| host(found.loss_m.clone()));
    for i in 0..2 {
        assert!((margin[i] + turned[i]).abs() < 1e-15);
        // loss(h) − loss(−h) = −h
        assert!((loss[i] - other[i] + margin[i]).abs() < 1e-15);
    }
    // Twice the length and twice the log-ratio are the same margin.
    let twice = |of: &Side| Side {
        logq_m: of.logq_m.clone() * 2.0,
        logp_m: of.logp_m.clone() * 2.0,
        tokens_m: of.tokens_m.clone() * 2.0,
    };
    let doubled = sequence_preference(&twice(&chosen), &twice(&rejected), &rule, weights());
    assert_near("margin", &host(doubled.margin_m), &margin, 1e-15);
}
