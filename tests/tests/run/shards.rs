//! A step in shards leaves the bytes of one that ran whole, also after it was killed between two of them.

use super::{documents, empty_lab, experiment};
use lyceum_tests::{Ended, Lab};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, SystemTime};

/// Scores of every kind that can be cut; the model is trained hardly at all.
fn scored() -> String {
    let trained = experiment().replace("steps = 60", "steps = 2").replace(
        "hidden_size = 32",
        "hidden_size = 32, max_position_embeddings = 40",
    );
    assert!(trained.contains("steps = 2") && trained.contains("embeddings = 40"));
    trained
        + r#"
[steps.blocks]
use = "score.logprobs"
data = "@tokens.train"
model = "@model"
tokens = true
batch_size = 2
[steps.documents]
use = "score.logprobs"
data = "@tokens.train"
model = "@model"
item = "document"
batch_size = 2
[steps.ahead]
use = "score.miniplm"
data = "@tokens.train"
teacher = "@model"
reference = "@model"
batch_size = 2
[steps.texts]
use = "score.logprobs"
data = "@pool"
model = "@model"
tokens = true
batch_size = 1
[steps.answers]
use = "score.logprobs"
data = "@pool"
model = "@model"
prefix = "{{ text[:9] }} "
continuation = "{{ text[9:30] }}"
batch_size = 1
[steps.vectors]
use = "embed.text"
corpus = "@pool"
model = "@model"
truncate = true
batch_size = 1
[steps.written]
use = "generate.text"
model = "@model"
prompts = "@pool"
template = "{{ text[:9] }}"
samples = 20
sampling = { max_tokens = 3, temperature = 1.0 }
[steps.chance]
use = "score.random"
data = "@tokens.train"
[steps.middling]
use = "score.perplexity"
data = "@tokens.train"
model = "@model"
keep = "mid"
batch_size = 2
[steps.reducible]
use = "score.rho_loss"
data = "@tokens.train"
model = "@model"
reference = "@model"
batch_size = 2
[steps.influence]
use = "score.influence"
data = "@tokens.train"
model = "@model"
target = "@tokens.valid"
[steps.influential_documents]
use = "score.influence"
data = "@tokens.train"
model = "@model"
target = "@tokens.valid"
similarity = "cosine"
item = "document"
[steps.important]
use = "score.dsir"
data = "@tokens.train"
target = "@tokens.valid"
[steps.parts]
use = "corpus.split"
corpus = "@pool"
fractions = { pool = 0.7, target = 0.3 }
[steps.important_documents]
use = "score.dsir"
data = "@parts.pool"
target = "@parts.target"
[steps.told]
use = "score.classifier"
data = "@tokens.train"
target = "@tokens.valid"
item = "document"
examples = 5
[steps.told_documents]
use = "score.classifier"
data = "@parts.pool"
target = "@parts.target"
[steps.chosen]
use = "select.top"
scores = "@chance"
keep = 0.5
noise = "gumbel"
tau = 0.1
"#
}

const SCORES: [&str; 11] = [
    "score.logprobs",
    "score.miniplm",
    "score.perplexity",
    "score.rho_loss",
    "score.influence",
    "score.dsir",
    "score.classifier",
    "score.random",
    "embed.text",
    "generate.text",
    "select.top",
];

/// The same with every score and selection in `shards` pieces.
fn cut(shards: u32) -> String {
    let mut text = scored();
    for component in ["score.", "embed.", "generate.", "select."] {
        let used = format!("use = \"{component}");
        text = text.replace(&used, &format!("shards = {shards}\n{used}"));
    }
    text
}

fn lab() -> Lab {
    let lab = empty_lab();
    lab.write("data/pool.jsonl", documents(60));
    // The hash of a file is kept once the file is some seconds old. Of one from the future it never is, so every run does
    // the same operations on the disk.
    let data = fs::File::options().write(true).open(lab.path("data/pool.jsonl"));
    data.and_then(|data| data.set_modified(SystemTime::now() + Duration::from_hours(1)))
        .expect("a file from the future");
    lab.write("whole.toml", scored());
    lab
}

fn forget_scores(lab: &Lab) {
    for component in SCORES {
        fs::remove_dir_all(lab.path(".lyceum/store").join(component)).expect("scores");
    }
}

/// Numbers of the operations on the disk whose line in the log ends like this.
fn operations(log: &str, word: &str, end: &str) -> Vec<u64> {
    let lines = log
        .lines()
        .filter(|line| line.contains(&format!(" {word} ")) && line.ends_with(end));
    lines
        .map(|line| {
            let number = line.split(' ').next().expect("a number");
            number.parse().expect("a number")
        })
        .collect()
}

#[test]
fn any_number_of_shards_leaves_the_same_bytes() {
    let lab = lab();
    lab.lyceum(&["run", "whole.toml"]).exits(0);
    let whole: BTreeMap<String, String> = lab.hashes();
    // The last is more than there are chunks of blocks.
    for shards in [2, 5, 200] {
        let file = format!("cut-{shards}.toml");
        lab.write(&file, cut(shards));
        // How the work is cut is no part of what was asked for.
        assert_eq!(lab.lyceum(&["run", &file]).exits(0).cached().len(), 22);
        forget_scores(&lab);
        let plan = lab.lyceum(&["plan", &file]).exits(0);
        assert!(
            plan.stdout.contains(&format!("  in {shards} shards\n")),
            "{}",
            plan.stdout
        );
        let ended = lab.lyceum(&["run", &file]).exits(0);
        ended.says(&[&format!("blocks: shard {shards} of {shards}")]);
        assert_eq!(lab.hashes(), whole);
    }
}

#[test]
fn killed_between_shards_it_goes_on_with_those_it_lacks() {
    let lab = lab();
    lab.lyceum(&["run", "whole.toml"]).exits(0);
    let whole = lab.hashes();
    lab.write("cut.toml", cut(3));
    forget_scores(&lab);
    let log = lab.path("log");
    let noted = [("LYCEUM_FAULT_LOG", log.to_str().expect("text"))];
    Ended::of(lab.start_with(&["run", "cut.toml"], &noted)).exits(0);
    let log = fs::read_to_string(log).expect("a log");
    let second = operations(&log, "rename", "/shard-1")[0];

    forget_scores(&lab);
    let fault = format!("kill:{second}");
    let killed = Ended::of(lab.start_with(&["run", "cut.toml"], &[("LYCEUM_FAULT", &fault)]));
    assert_eq!(killed.code, None, "{}", killed.stderr);
    let ended = lab.lyceum(&["run", "cut.toml"]).exits(0);
    ended.says(&["blocks: shard 1 of 3 was kept", "blocks: shard 2 of 3\n"]);
    assert_eq!(lab.hashes(), whole);
}

#[test]
fn what_runs_whole_says_so() {
    let lab = lab();
    lab.write(
        "bad.toml",
        scored().replace("use = \"train.lm\"", "shards = 2\nuse = \"train.lm\""),
    );
    lab.lyceum(&["validate", "bad.toml"])
        .exits(2)
        .says(&["cannot_shard", "`train.lm` runs whole"]);
}
