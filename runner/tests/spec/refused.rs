//! What is refused, with its code and line.

use super::*;

#[test]
fn mistakes_in_keys_and_values_are_told_in_their_lines() {
    let keep = "keep = 0.5";
    refused(keep, "keep = 0.5\nkeeps = 1", "keeps", "unknown_key");
    refused(keep, "keep = 0.5\nkeep = 0.6", "keep = 0.6", "bad_toml");
    refused(keep, "keep = \"half\"", "half", "wrong_type");
    refused(keep, "keep = 0", "keep = 0", "out_of_range");
    refused(keep, "keep = 1.5", "keep = 1.5", "out_of_range");
    refused(keep, "", "[steps.chosen]", "missing_key");
    refused(
        "vocab_size = 2048",
        "vocab_size = 3",
        "vocab_size = 3",
        "out_of_range",
    );
    refused(
        "boundary = \"document\"",
        "boundary = \"dokument\"",
        "dokument",
        "unknown_value",
    );
    refused(
        "\"tokenizer.train\"",
        "\"tokeniser.train\"",
        "tokeniser",
        "unknown_component",
    );
    refused("use = \"select.top\"", "", "[steps.chosen]", "missing_key");
    refused("[sweep]", "[sweeps]", "[sweeps]", "unknown_key");
    refused("seed  = 42", "seed  = -1", "seed  = -1", "out_of_range");
    refused("\"f32\" ", "\"f16\" ", "f16", "unknown_value");
    refused("\"auto\" ", "\"gpu\" ", "gpu", "bad_form");
    refused(keep, "keep = 0.5\nshards = 4", "shards", "cannot_shard");
}

#[test]
fn a_number_that_is_not_finite_is_one_mistake() {
    refused("keep = 0.5", "keep = nan", "keep = nan", "bad_value");
}

#[test]
fn mistakes_in_references_are_told_in_their_lines() {
    refused("\"@difference\"", "\"@diference\"", "@diference", "unknown_step");
    refused(
        "\"@difference\"",
        "\"difference\"",
        "scores = \"diff",
        "not_a_reference",
    );
    refused("\"@difference\"", "\"@teacher\"", "scores = \"@t", "wrong_kind");
    refused(
        "\"@clean_tokens.valid\"",
        "\"@clean_tokens.test\"",
        "clean_tokens.test",
        "unknown_output",
    );
    refused(
        "\"@clean_tokens.valid\"",
        "\"@clean_tokens\"",
        "= \"@clean_tokens\"",
        "unknown_output",
    );
    refused(
        "teacher = \"@teacher\"",
        "teacher = \"@student\"",
        "teacher = \"@st",
        "ambiguous_variant",
    );
    refused(
        "reference = \"@reference\"",
        "reference = \"@student[x]\"",
        "@student[x]",
        "unknown_variant",
    );
    refused(
        "better = \"student[miniplm]\"",
        "better = \"student[mini]\"",
        "[mini]",
        "unknown_variant",
    );
}

#[test]
fn a_cycle_is_refused() {
    let text = DESIGN.replace("data = \"@tokens\"\nteacher", "data = \"@chosen\"\nteacher");
    let codes: Vec<_> = mistakes(&text).into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, ["cycle"]);
}

#[test]
fn a_component_s_own_check_is_told_at_its_field() {
    let budget = "budget = { tokens = 500_000 }";
    let both = "budget = { tokens = 500_000, steps = 3 }";
    refused(budget, both, both, "not_exactly_one");
}

#[test]
fn all_mistakes_come_at_once() {
    let text = DESIGN
        .replace("keep = 0.5", "keep = 5")
        .replace("vocab_size = 2048", "vocab_sizes = 2048")
        .replace("\"@difference\"", "\"@diff\"");
    let codes: Vec<_> = mistakes(&text).into_iter().map(|(code, _)| code).collect();
    for code in ["out_of_range", "unknown_key", "missing_key", "unknown_step"] {
        assert!(codes.contains(&code.to_owned()), "no {code} in {codes:?}");
    }
}

#[test]
fn a_wrong_kind_is_told_beside_mistakes_of_the_step_it_names() {
    let text = DESIGN
        .replace("vocab_size = 2048", "vocab_size = 3")
        .replace("\"@difference\"", "\"@bpe\"");
    let codes: Vec<_> = mistakes(&text).into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, ["out_of_range", "wrong_kind"]);
}

#[test]
fn extends_may_not_come_back_to_itself() {
    let bench = Bench::new(format!("extends = [\"b.toml\"]\n{DESIGN}"));
    bench.write("b.toml", "extends = [\"a.toml\"]\n");
    assert_eq!(
        bench.load(&assume()).unwrap_err(),
        [("extends_cycle".to_owned(), 1)]
    );
}

#[test]
fn a_missing_file_is_told_unless_files_are_assumed() {
    let bench = Bench::new(DESIGN);
    let codes: Vec<_> = bench.load(&Options::default()).unwrap_err();
    assert_eq!(codes.iter().filter(|(code, _)| code == "missing_file").count(), 2);
    assert!(bench.load(&assume()).is_ok());
}

#[test]
fn a_file_outside_the_root_is_refused() {
    for path in ["../pool.jsonl.gz", "/etc/hostname"] {
        refused("data/pool.jsonl.gz", path, path, "outside_root");
    }
}

#[test]
fn a_key_with_a_dot_in_it_is_an_unknown_section() {
    let codes: Vec<_> = mistakes(&format!("\"a.b\" = 1\n{DESIGN}"));
    assert_eq!(codes, [("unknown_key".to_owned(), 1)]);
}

#[test]
fn a_condition_must_be_true_or_false() {
    let with = |when: &str| DESIGN.replace("[steps.quality]", &format!("[steps.quality]\nwhen = \"{when}\""));
    assert!(resolved(&with("seed == 42")).step("quality").is_some());
    let codes: Vec<_> = mistakes(&with("seed +"))
        .into_iter()
        .map(|(code, _)| code)
        .collect();
    assert_eq!(codes, ["bad_condition"]);
    let codes: Vec<_> = mistakes(&with("seed + 1"))
        .into_iter()
        .map(|(code, _)| code)
        .collect();
    assert_eq!(codes, ["bad_condition"]);
}

#[test]
fn a_step_that_is_switched_off_has_no_unknown_keys_but_may_lack_what_switches_it_on() {
    let with = |line: &str| {
        let data = "data   = \"@clean_tokens.valid\"";
        assert_eq!(DESIGN.matches(data).count(), 1);
        mistakes(&DESIGN.replace(data, &format!("when = \"false\"\n{line}")))
    };
    assert_eq!(with(""), []);
    assert_eq!(with("data = \"@nowhere\""), []);
    let line = 1 + DESIGN
        .lines()
        .position(|line| line.contains("@clean_tokens.valid"))
        .expect("a line");
    assert_eq!(with("dta = \"@nowhere\""), [("unknown_key".to_owned(), line + 1)]);
}

#[test]
fn settings_on_the_command_line_are_checked_too() {
    let bench = Bench::new(DESIGN);
    let codes = |settings: &[&str]| -> Vec<String> {
        let found = bench.load(&set(settings)).err().unwrap_or_default();
        found.into_iter().map(|(code, _)| code).collect()
    };
    assert_eq!(codes(&["steps.chosen.keep=0.3"]), Vec::<String>::new());
    assert_eq!(codes(&["steps.chosen.keep=3"]), ["out_of_range"]);
    assert_eq!(codes(&["steps.chosen.kept=0.3"]), ["unknown_key"]);
}
