//! PDS and the learning law as a user runs them: solved, learnt, scored and selected; killed in the middle; in shards.

use lyceum_tests::{Ended, Lab};
use std::collections::BTreeMap;
use std::fs;

const EXPERIMENT: &str = r#"
[experiment]
name = "pds"
paper = "pds"
seed = 3

[steps.pool]
use = "corpus.jsonl"
files = ["data/pool.jsonl"]

[steps.bpe]
use = "tokenizer.train"
corpus = "@pool"
vocab_size = 300

[steps.tokens]
use = "tokens.pack"
tokenizer = "@bpe"
corpus = "@pool"
context = 16
split = { pool = 0.8, target = 0.2 }

[steps.start]
use = "model.init"
tokenizer = "@bpe"
model = { hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2, max_position_embeddings = 16 }

[steps.proxy]
use = "score.pds_proxy"
data = "@tokens.pool"
target = "@tokens.target"
models = "@start"
proxy = 24
steps = 7
optim = { lr = 0.1, batch_size = 2 }
score_every = 2
target_sample = 3

[steps.weights]
use = "score.pds_proxy"
data = "@tokens.pool"
target = "@tokens.target"
models = "@start"
proxy = 12
steps = 4
optim = { lr = 0.1 }
outer_epochs = 2
outer_lr = 0.001

[steps.scorer]
use = "train.scorer"
scores = "@proxy"
model = { hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2, max_position_embeddings = 16 }
epochs = 3
lr = 1e-2
batch_size = 8
valid = 0.25

[steps.scores]
use = "score.pds"
data = "@tokens.pool"
scorer = "@scorer"
batch_size = 1

[steps.chosen]
use = "select.top"
scores = "@scores"
keep = 0.4
noise = "gumbel"
tau = 0.1

[steps.labelled]
use = "corpus.teacher_student"
width = 4
train = 20
target = 10

[steps.policy]
use = "policy.learning_law"
data = "@labelled.train"
target = "@labelled.target"
test = "@labelled.test"
steps = 10
epochs = 6
lr = 0.05
save_every = 2
"#;

const MADE: [&str; 4] = [
    "score.pds_proxy",
    "train.scorer",
    "score.pds",
    "policy.learning_law",
];

fn lab() -> Lab {
    let lab = Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"));
    let line = |i: usize| {
        format!(
            "{{\"text\": \"The {}th of {} quiet boats went down the {} river.\"}}\n",
            i * 7 % 31,
            i * 13 % 17,
            ["old", "green", "wide"][i % 3],
        )
    };
    lab.write("data/pool.jsonl", (0..90).map(line).collect::<String>());
    lab.write("pds.toml", EXPERIMENT);
    lab
}

fn forget(lab: &Lab) {
    for component in MADE {
        fs::remove_dir_all(lab.path(".lyceum/store").join(component)).expect("an artifact");
    }
    let _ = fs::remove_dir_all(lab.path(".lyceum/scratch"));
}

/// What the components of this page have left.
fn made(lab: &Lab) -> BTreeMap<String, String> {
    let ours = |name: &str| {
        MADE.iter()
            .any(|component| name.starts_with(&format!("{component}/")))
    };
    lab.hashes().into_iter().filter(|(name, _)| ours(name)).collect()
}

/// Numbers of the renames on the disk that give a file this name.
fn renames(log: &str, name: &str) -> Vec<u64> {
    let lines = log
        .lines()
        .filter(|line| line.contains(" rename ") && line.ends_with(name));
    lines
        .map(|line| {
            line.split(' ')
                .next()
                .expect("a number")
                .parse()
                .expect("a number")
        })
        .collect()
}

#[test]
fn killed_anywhere_it_ends_as_if_it_had_not_been() {
    let lab = lab();
    let ended = lab.lyceum(&["run", "pds.toml"]).exits(0);
    ended.says(&["validation: Spearman ", "after 6 policy epochs: acceleration "]);
    let whole = made(&lab);
    let of = |name: &str| whole.keys().filter(|path| path.ends_with(name)).count();
    assert_eq!(
        (
            of("steps.parquet"),
            of("validation.parquet"),
            of("policy.safetensors")
        ),
        (2, 1, 1)
    );

    forget(&lab);
    let log = lab.path("log");
    let noted = [("LYCEUM_FAULT_LOG", log.to_str().expect("text"))];
    Ended::of(lab.start_with(&["run", "pds.toml"], &noted)).exits(0);
    assert_eq!(made(&lab), whole);
    let log = fs::read_to_string(log).expect("a log");
    let mut killed = 0;
    // Forth, back, between two outer epochs, between two epochs of the scorer, and between two copies of the policy.
    for name in [
        "/state-00000004",
        "/costate",
        "/model0.json",
        "/scorer-epoch.safetensors",
        "/policy",
    ] {
        let all = renames(&log, name);
        assert!(all.len() >= 2, "{name}: {all:?}");
        for number in [all[0] + 1, all[all.len() - 1]] {
            forget(&lab);
            let fault = format!("kill:{number}");
            let ended = Ended::of(lab.start_with(&["run", "pds.toml"], &[("LYCEUM_FAULT", &fault)]));
            assert_eq!(ended.code, None, "{}", ended.stderr);
            lab.lyceum(&["run", "pds.toml"]).exits(0);
            assert_eq!(made(&lab), whole, "{name}: {number}");
            killed += 1;
        }
    }
    assert_eq!(killed, 10);
}

#[test]
fn shards_and_plans_of_memory_leave_the_same_bytes() {
    let lab = lab();
    lab.lyceum(&["run", "pds.toml"]).exits(0);
    let whole = made(&lab);
    let cut = EXPERIMENT
        .replace("use = \"score.pds\"\n", "use = \"score.pds\"\nshards = 3\n")
        .replace(
            "score_every = 2\n",
            "score_every = 2\ncheckpoint_every = 1\ntrajectory = \"memory\"\n",
        )
        .replace("save_every = 2\n", "save_every = 1\ntrajectory = \"disk\"\n");
    assert!(cut.contains("shards = 3") && cut.contains("memory") && cut.contains("disk"));
    lab.write("cut.toml", &cut);
    assert_eq!(
        lab.lyceum(&["run", "cut.toml"]).exits(0).cached().len(),
        11,
        "nothing is new"
    );
    forget(&lab);
    lab.lyceum(&["run", "cut.toml"])
        .exits(0)
        .says(&["scores: shard 3 of 3"]);
    assert_eq!(made(&lab), whole);
}

#[test]
fn what_breaks_the_recursion_is_refused_in_the_users_file() {
    let lab = lab();
    let broken = EXPERIMENT.replace(
        "optim = { lr = 0.1, batch_size = 2 }",
        "optim = { lr = 0.1, batch_size = 2, momentum = 0.9 }",
    );
    lab.write("broken.toml", broken);
    let ended = lab.lyceum(&["validate", "broken.toml"]).exits(2);
    ended.says(&[
        "unsupported_optimizer",
        "`momentum` can only be 0",
        "leave `momentum` out",
    ]);
    let narrow = EXPERIMENT.replace("score_every = 2\n", "score_every = 2\nprecision = \"bf16\"\n");
    lab.write("narrow.toml", narrow);
    let ended = lab.lyceum(&["run", "narrow.toml"]).exits(3);
    ended.says(&["unsupported_precision"]);
}
