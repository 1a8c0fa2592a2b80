//! What `lyceum validate` says about files that are wrong, whatever components there are.

use lyceum::spec::CODES;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs `lyceum validate` on `a.toml` in a folder with these files; gives exit status and both streams.
fn validate(files: &[(&str, &[u8])], arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in [("lyceum.toml", b"".as_slice())].iter().chain(files) {
        fs::write(folder.path().join(name), text).expect("a file in it");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_lyceum-under-test"))
        .args(["validate", "a.toml"])
        .args(arguments)
        .current_dir(folder.path())
        .env_remove("LYCEUM_DATA")
        .output()
        .expect("the command starts");
    let written = fs::read_dir(folder.path()).expect("a listing").count();
    assert_eq!(written, files.len() + 1, "validate wrote something");
    let folder = folder.path().canonicalize().expect("the folder");
    let shown = format!(
        "exit {}\n-- stdout\n{}-- stderr\n{}",
        output.status.code().expect("an exit status"),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    shown.replace(&folder.display().to_string(), "/the/root")
}

fn one(text: &str) -> String {
    validate(&[("a.toml", text.as_bytes())], &[])
}

const HEAD: &str = "[experiment]\nname = \"a\"\n";

#[test]
fn text_that_is_not_toml() {
    insta::assert_snapshot!(one("[experiment]\nname = \n"));
}

#[test]
fn a_list_that_is_never_closed_is_told_once() {
    insta::assert_snapshot!(one(
        "[experiment]\nname = \"a\"\n\n[steps.text]\nuse = \"corpus.jsonl\"\nfiles = [\"data.jsonl\"\nlimit = 3\n\n[steps.b]\nuse = \"corpus.split\"\n"
    ));
}

#[test]
fn a_key_given_twice() {
    insta::assert_snapshot!(one("[experiment]\nname = \"a\"\nname = \"b\"\n"));
}

#[test]
fn bytes_that_are_not_utf8() {
    insta::assert_snapshot!(validate(&[("a.toml", b"[experiment]\nname = \"\xff\"\n")], &[]));
}

#[test]
fn no_experiment() {
    insta::assert_snapshot!(one("[runtime]\ndevice = \"cpu\"\n"));
}

#[test]
fn no_such_file() {
    insta::assert_snapshot!(validate(&[], &[]));
}

#[test]
fn several_mistakes_at_once() {
    insta::assert_snapshot!(one(&format!(
        "{HEAD}\n[runtime]\ndevice = \"tpu\"\n\n[report]\ntemplates = \"x\"\n\n[step.a]\nuse = \"x\"\n"
    )));
}

#[test]
fn a_wrong_head_does_not_hide_other_mistakes() {
    let shown = one("[experiment]\nname = \"a\"\nseed = \"one\"\n\n[runtime]\ndevice = \"tpu\"\n");
    assert!(shown.contains("2 mistakes found"), "{shown}");
}

#[test]
fn a_component_that_is_not_there() {
    insta::assert_snapshot!(one(&format!("{HEAD}\n[steps.a]\nuse = \"nothing.like_it\"\n")));
}

#[test]
fn an_experiment_that_extends_itself() {
    let a = format!("extends = [\"b.toml\"]\n{HEAD}");
    let files: [(&str, &[u8]); 2] = [("a.toml", a.as_bytes()), ("b.toml", b"extends = [\"a.toml\"]\n")];
    insta::assert_snapshot!(validate(&files, &[]));
}

#[test]
fn a_base_that_is_not_there() {
    insta::assert_snapshot!(one(&format!("extends = [\"none.toml\"]\n{HEAD}")));
}

#[test]
fn a_profile_that_is_not_there() {
    let text = format!("{HEAD}\n[profiles.tiny.experiment]\nseed = 1\n");
    insta::assert_snapshot!(validate(&[("a.toml", text.as_bytes())], &["--profile", "tinny"]));
}

#[test]
fn a_setting_of_the_command_line() {
    insta::assert_snapshot!(validate(
        &[("a.toml", HEAD.as_bytes())],
        &["--set", "experiment.seed=-3"]
    ));
}

#[test]
fn mistakes_for_programs() {
    let text = "[experiment]\nname = \"a\"\nseeed = 1\n";
    insta::assert_snapshot!(validate(&[("a.toml", text.as_bytes())], &["--format", "json"]));
}

/// A step without a mistake.
const TEXT: &str = "\n[steps.text]\nuse = \"corpus.jsonl\"\nfiles = [\"data.jsonl\"]\n";
const TOKENS: &str = r#"
[steps.bpe]
use = "tokenizer.train"
corpus = "@text"
vocab_size = 300
[steps.tokens]
use = "tokens.pack"
tokenizer = "@bpe"
corpus = "@text"
context = 16
split = { train = 0.5, valid = 0.5 }
"#;

/// For every code, what follows the head and the steps above to make that mistake.
const CASES: &[(&str, &str)] = &[
    (
        "ambiguous_variant",
        "[steps.two]\nuse = \"corpus.split\"\nfractions = { a = 1.0 }\nmatrix.corpus = { x = \"@text\", y = \"@text\" }\n\
         [steps.b]\nuse = \"tokenizer.train\"\ncorpus = \"@two.a\"\nvocab_size = 300\n",
    ),
    (
        "bad_condition",
        "[steps.c]\nuse = \"corpus.split\"\ncorpus = \"@text\"\nfractions = { a = 1.0 }\nwhen = \"sede == 3\"\n",
    ),
    ("bad_form", "[runtime]\ndevice = \"gpu\"\n"),
    (
        "bad_range",
        "[sweep.random]\npoints = 3\nranges = { \"steps.bpe.vocab_size\" = [500, 300] }\n",
    ),
    (
        "bad_step_name",
        "[steps.\"a b\"]\nuse = \"corpus.jsonl\"\nfiles = [\"data.jsonl\"]\n",
    ),
    ("bad_toml", "[report\n"),
    (
        "bad_value",
        "[steps.more]\nuse = \"corpus.jsonl\"\nfiles = [\"data.jsonl\"]\nlimit = 99999999999999999999\n",
    ),
    (
        "bad_variant_name",
        "[steps.b]\nuse = \"tokenizer.train\"\nvocab_size = 300\nmatrix.corpus = [\"@text\", \"@text\"]\n",
    ),
    (
        "cannot_shard",
        "[steps.b]\nuse = \"tokenizer.train\"\ncorpus = \"@text\"\nvocab_size = 300\nshards = 4\n",
    ),
    (
        "cycle",
        "[steps.a]\nuse = \"corpus.split\"\ncorpus = \"@b.x\"\nfractions = { x = 1.0 }\n\
         [steps.b]\nuse = \"corpus.split\"\ncorpus = \"@a.x\"\nfractions = { x = 1.0 }\n",
    ),
    (
        "duplicate_claim",
        "[[claims]]\nname = \"a\"\nmetric = \"text.x\"\nbetter = \"text\"\nthan = \"bpe\"\n[[claims]]\nname = \"a\"\n",
    ),
    ("empty", "[steps.more]\nuse = \"corpus.jsonl\"\nfiles = [\"\"]\n"),
    (
        "empty_axis",
        "[sweep]\ngrid = { \"steps.bpe.vocab_size\" = [] }\n",
    ),
    (
        "empty_matrix",
        "[steps.b]\nuse = \"tokenizer.train\"\nvocab_size = 300\nmatrix.corpus = \"@text\"\n",
    ),
    (
        "missing_file",
        "[steps.more]\nuse = \"corpus.jsonl\"\nfiles = [\"dta.jsonl\"]\n",
    ),
    (
        "missing_key",
        "[steps.b]\nuse = \"tokenizer.train\"\ncorpus = \"@text\"\n",
    ),
    (
        "no_randomness",
        "[steps.more]\nuse = \"corpus.jsonl\"\nfiles = [\"data.jsonl\"]\nseed = 3\n",
    ),
    (
        "not_a_reference",
        "[steps.b]\nuse = \"tokenizer.train\"\ncorpus = \"text\"\nvocab_size = 300\n",
    ),
    (
        "not_exactly_one",
        "[steps.m]\nuse = \"train.lm\"\ndata = \"@tokens.train\"\nmodel = { hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2 }\n\
         optim = { lr = 1e-3, batch_size = 1, budget = { steps = 1, tokens = 16 } }\n",
    ),
    (
        "out_of_range",
        "[steps.b]\nuse = \"tokenizer.train\"\ncorpus = \"@text\"\nvocab_size = 3\n",
    ),
    (
        "outside_root",
        "[steps.more]\nuse = \"corpus.jsonl\"\nfiles = [\"../secret.jsonl\"]\n",
    ),
    (
        "swept_twice",
        "[sweep]\ngrid = { \"steps.bpe.vocab_size\" = [300] }\nzip = { \"steps.bpe.vocab_size\" = [400] }\n",
    ),
    (
        "switched_off",
        "[steps.off]\nuse = \"corpus.jsonl\"\nfiles = [\"data.jsonl\"]\nwhen = \"seed == 1\"\n\
         [steps.b]\nuse = \"tokenizer.train\"\ncorpus = \"@off\"\nvocab_size = 300\n",
    ),
    ("too_few", "[steps.more]\nuse = \"corpus.jsonl\"\nfiles = []\n"),
    (
        "too_many",
        "[sweep.random]\npoints = 3\nranges = { \"steps.bpe.vocab_size\" = [300, 400, 500] }\n",
    ),
    (
        "too_many_points",
        "[sweep.random]\npoints = 1_000_000\nranges = { \"steps.bpe.vocab_size\" = [300, 400] }\n",
    ),
    (
        "unequal_lengths",
        "[sweep]\nzip = { \"steps.bpe.vocab_size\" = [300, 400], \"steps.tokens.context\" = [8] }\n",
    ),
    ("unknown_component", "[steps.b]\nuse = \"tokeniser.train\"\n"),
    (
        "unknown_key",
        "[steps.b]\nuse = \"tokenizer.train\"\ncorpus = \"@text\"\nvocab_size = 300\nmin_freqency = 2\n",
    ),
    (
        "unknown_output",
        "[steps.b]\nuse = \"score.random\"\ndata = \"@tokens.test\"\n",
    ),
    (
        "unknown_path",
        "[sweep]\ngrid = { \"steps.bep.vocab_size\" = [300] }\n",
    ),
    (
        "unknown_step",
        "[steps.b]\nuse = \"tokenizer.train\"\ncorpus = \"@txt\"\nvocab_size = 300\n",
    ),
    (
        "unknown_value",
        "[steps.more]\nuse = \"corpus.jsonl\"\nfiles = [\"data.jsonl\"]\non_bad_line = \"skp\"\n",
    ),
    (
        "unknown_variant",
        "[steps.b]\nuse = \"tokenizer.train\"\ncorpus = \"@text[x]\"\nvocab_size = 300\n",
    ),
    (
        "wrong_kind",
        "[steps.b]\nuse = \"tokenizer.train\"\ncorpus = \"@bpe\"\nvocab_size = 300\n",
    ),
    (
        "wrong_type",
        "[steps.b]\nuse = \"tokenizer.train\"\ncorpus = \"@text\"\nvocab_size = \"many\"\n",
    ),
];

/// An experiment that has a mistake which is long to write.
fn long(code: &str) -> String {
    let step = |i: u32| format!("[steps.s{i}]\nuse = \"corpus.text\"\n");
    let axis = |i| format!("matrix.k{i} = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n");
    match code {
        "too_deep" => format!("deep = {}1{}\n", "[".repeat(66), "]".repeat(66)),
        "too_many_variants" => {
            let axes: String = (0..4).map(axis).collect();
            format!("[steps.b]\nuse = \"tokenizer.train\"\ncorpus = \"@text\"\nvocab_size = 300\n{axes}")
        }
        "too_many_steps" => (0..2_001).map(step).collect(),
        "too_many_files" => "extends = [\"base0.toml\", \"base0.toml\"]\n".to_owned(),
        "too_large" => "# data\n".repeat(1 << 18),
        _ => panic!("no case for {code}"),
    }
}

#[test]
fn every_code_has_a_message_that_was_looked_at() {
    // These need other files or arguments, and are shown by the tests above.
    let elsewhere = ["cannot_read", "extends_cycle", "invalid_utf8", "unknown_profile"];
    for (code, _) in CODES.iter().filter(|(code, _)| !elsewhere.contains(code)) {
        let case = CASES.iter().find(|(name, _)| name == code);
        let case = case.map_or_else(|| long(code), |(_, text)| (*text).to_owned());
        let text = if case.contains("extends") || *code == "too_deep" {
            format!("{case}{HEAD}{TEXT}")
        } else {
            format!("{HEAD}{TEXT}{TOKENS}\n{case}")
        };
        // Files of which each extends the next one twice.
        let base = |i: usize| format!("base{i}.toml");
        let bases: Vec<_> = (0..7)
            .map(|i| (base(i), format!("extends = [\"{0}\", \"{0}\"]\n", base(i + 1))))
            .chain([(base(7), String::new())])
            .collect();
        let mut files: Vec<(&str, &[u8])> = vec![("a.toml", text.as_bytes()), ("data.jsonl", b"")];
        if *code == "too_many_files" {
            files.extend(bases.iter().map(|(name, text)| (name.as_str(), text.as_bytes())));
        }
        let shown = validate(&files, &[]);
        assert!(shown.contains(&format!("{code}\n")), "no {code} in:\n{shown}");
        assert!(shown.starts_with("exit 2"), "{shown}");
        insta::assert_snapshot!(format!("code_{code}"), shown);
    }
    let names: BTreeSet<&str> = CODES.iter().map(|(code, _)| *code).collect();
    for (code, _) in CASES {
        assert!(names.contains(code), "{code} is no code");
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                rust_files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[test]
fn the_list_of_codes_is_whole_and_in_the_guide() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let names: BTreeSet<&str> = CODES.iter().map(|(code, _)| *code).collect();
    let mut said = String::new();
    for file in rust_files(&root.join("runner/src/spec")) {
        let text = fs::read_to_string(&file).expect("a source file");
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        if file.ends_with("codes.rs") {
            continue;
        }
        said.push_str(text);
        let snake = |piece: &&str| {
            let plain = piece.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            plain && piece.contains('_') && !piece.starts_with('_') && !piece.ends_with('_')
        };
        for word in text.split('"').filter(snake) {
            assert!(names.contains(word), "{}: {word} is not listed", file.display());
        }
    }
    let guide = fs::read_to_string(root.join("docs/errors.md")).expect("docs/errors.md");
    for (code, meaning) in CODES {
        assert!(said.contains(&format!("\"{code}\"")), "nothing says {code}");
        let row = format!("| `{code}` | {meaning} |");
        assert!(guide.contains(&row), "docs/errors.md lacks: {row}");
    }
    assert_eq!(
        guide.matches("\n| `").count(),
        CODES.len(),
        "rows of docs/errors.md"
    );
}

#[test]
fn a_file_is_validated_in_a_moment() {
    let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/quickstart.toml");
    let once = || {
        let start = Instant::now();
        let status = Command::new(env!("CARGO_BIN_EXE_lyceum-under-test"))
            .args(["validate".as_ref(), quickstart.as_os_str()])
            .output()
            .expect("the command starts")
            .status;
        assert!(status.success());
        start.elapsed()
    };
    let best = (0..10).map(|_| once()).min().expect("ten times");
    eprintln!("validate quickstart.toml: {:.1} ms", best.as_secs_f64() * 1e3);
    // The aim is 50 ms; machines differ.
    assert!(best < Duration::from_millis(150), "{best:?}");
}
