//! What distilled models are measured by, and the prompts they read, against the figures of MiniLLM's sheet.

use lyceum_components::artifact::InstructionPair;
use lyceum_components::metrics::{Calibration, Errors, Reduction, accumulated, distinct, excess};
use lyceum_components::pair_template::{BuiltIn, PairTemplate};
use lyceum_tests::{Golden, Node, assert_close, sha256};

/// One text a prompt, as long as its mask says.
fn errors(rollout: &Node) -> Errors {
    let errors: Vec<Vec<f64>> = rollout.get("err").read();
    let masks: Vec<Vec<f64>> = rollout.get("mask").read();
    let live = |(errors, mask): (Vec<f64>, Vec<f64>)| {
        let length = mask.iter().take_while(|&&live| live == 1.0).count();
        assert!(mask[length..].iter().all(|&live| live == 0.0));
        vec![errors[..length].to_vec()]
    };
    errors.into_iter().zip(masks).map(live).collect()
}

#[test]
fn exposure_bias_calibration_and_diversity() {
    let golden = Golden::open("minillm_metrics");
    let root = golden.root();
    root.prose(&["about"]);
    let (own, teachers) = (
        errors(&root.get("student_rollout")),
        errors(&root.get("teacher_rollout")),
    );
    let cases = root.get("ex_acc_err").items();
    assert_eq!(cases.len(), 2);
    for (case, reduction) in cases.iter().zip([Reduction::Prompts, Reduction::Pooled]) {
        let variant: String = case.get("variant").read();
        assert_eq!(variant.starts_with("pooled"), reduction == Reduction::Pooled);
        let slack: f64 = case.get("eps").read();
        let own = accumulated(&own, reduction, slack);
        let teachers = accumulated(&teachers, reduction, slack);
        assert_close("R", &own, &case.get("R").tensor().1, 1e-12);
        let expected = case.get("l_times_epsilon").tensor().1;
        assert_close("l·ε", &teachers, &expected, 1e-12);
        let expected = case.get("ex_acc_err_percent").tensor().1;
        assert_close("ExAccErr", &excess(&own, &teachers), &expected, 1e-12);
    }

    let confidence: Vec<f64> = root.get("confidence").read();
    let correct: Vec<u8> = root.get("correct").read();
    assert_eq!((confidence.len(), correct.len()), (40, 40));
    let cases = root.get("ece").items();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let mut calibration = Calibration::new(case.get("bins").read());
        for (&confidence, &correct) in confidence.iter().zip(&correct) {
            calibration.add(confidence, correct == 1);
        }
        let expected: f64 = case.get("ece").read();
        assert!((calibration.error() - expected).abs() < 1e-12);
    }

    let sequences: Vec<Vec<u32>> = root.get("sequences").read();
    let cases = root.get("distinct").items();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let (different, all) = distinct(&sequences, case.get("n").read());
        assert_eq!(different, case.get("distinct").read::<usize>());
        assert_eq!(all, case.get("total").read::<usize>());
        let percent: f64 = case.get("percent").read();
        assert!((different as f64 / all as f64 * 100.0 - percent).abs() < 1e-12);
    }
    golden.finish();
}

#[test]
fn alpacas_prompts_are_the_published_ones_byte_for_byte() {
    let alpaca = BuiltIn::Alpaca.source().expect("a template of our own");
    let alpaca = PairTemplate::of_source(alpaca).expect("a template");
    for (input, length, digest) in [
        (
            "",
            153,
            "7768da83ee0feb389c3bbcac0841599b1f953ff9ee5c448ec02fc560d762893f",
        ),
        (
            "{input}",
            225,
            "f1b8970aa9b05de470dbd1413609a155a16c9e9cfe4efbf01cf38dc2049fde66",
        ),
    ] {
        let pair = InstructionPair {
            id: 0,
            prompt: "{instruction}".to_owned(),
            input: input.to_owned(),
            response: String::new(),
            responses: vec![String::new()],
            meta: serde_json::Map::new(),
        };
        let prompt = alpaca.render(&pair).expect("renders");
        assert_eq!(prompt.len(), length);
        assert_eq!(sha256(prompt.as_bytes()), digest);
    }
}
