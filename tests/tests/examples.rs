//! The example of every component, as `lyceum components NAME` shows it, is a step of an experiment.

use lyceum::spec::{Options, load_text};
use lyceum_components::COMPONENTS;
use std::path::Path;

/// What examples refer to.
const AROUND: &str = r#"
[experiment]
name = "example"
[steps.pool]
use = "corpus.jsonl"
files = ["data/pool.jsonl.gz"]
keep_columns = ["quality"]
[steps.clean]
use = "corpus.jsonl"
files = ["data/clean.jsonl.gz"]
[steps.prompts]
use = "corpus.jsonl"
files = ["data/prompts.jsonl"]
[steps.instructions]
use = "corpus.jsonl"
files = ["data/instructions.jsonl"]
keep_columns = ["instruction", "output"]
[steps.dolly]
use = "corpus.pairs"
files = ["data/dolly.jsonl"]
[steps.bpe]
use = "tokenizer.train"
corpus = "@pool"
vocab_size = 512
[steps.tokens]
use = "tokens.pack"
tokenizer = "@bpe"
corpus = "@pool"
context = 64
[steps.pairs]
use = "tokens.pairs"
tokenizer = "@bpe"
pairs = "@dolly"
context = 64
[steps.clean_tokens]
use = "tokens.pack"
tokenizer = "@bpe"
corpus = "@clean"
context = 64
split = { train = 0.8, valid = 0.2 }
[steps.teacher]
use = "train.lm"
data = "@clean_tokens.train"
model = { hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2 }
optim = { lr = 1e-3, batch_size = 4, budget = { steps = 4 } }
[steps.reference]
use = "train.lm"
data = "@tokens"
model = { hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2 }
optim = { lr = 1e-3, batch_size = 4, budget = { steps = 4 } }
[steps.model]
use = "train.lm"
data = "@tokens"
model = "@reference"
optim = { lr = 1e-3, batch_size = 4, budget = { steps = 4 } }
[steps.base]
use = "train.lm"
data = "@pairs"
model = { hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2 }
optim = { lr = 1e-3, batch_size = 4, budget = { steps = 4 } }
[steps.difference]
use = "score.miniplm"
data = "@tokens"
teacher = "@teacher"
reference = "@reference"
[steps.chosen]
use = "select.top"
scores = "@difference"
keep = 0.5
[steps.student]
use = "train.lm"
model = "@reference"
optim = { lr = 1e-3, batch_size = 4, budget = { steps = 4 } }
matrix.data = { uniform = "@tokens", miniplm = "@chosen" }
[steps.proxy]
use = "score.pds_proxy"
data = "@tokens"
target = "@clean_tokens.valid"
models = "@reference"
proxy = 20
steps = 10
optim = { lr = 0.1, batch_size = 4 }
[steps.scorer]
use = "train.scorer"
scores = "@proxy"
model = { hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2 }
lr = 1e-3
[steps.examples]
use = "corpus.teacher_student"
[steps.policy]
use = "policy.learning_law"
data = "@examples.train"
target = "@examples.target"
test = "@examples.test"
"#;

#[test]
fn every_example_is_a_step() {
    let options = Options {
        assume: true,
        ..Options::default()
    };
    for component in COMPONENTS {
        let text = format!("{AROUND}\n[steps.example]\n{}", component.example);
        // Only the folder of this test is looked at: examples name files that nobody has.
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("example.toml");
        if let Err(said) = load_text(&text, &file, COMPONENTS, &options) {
            panic!("{}: {}", component.name, said.render(false));
        }
        let own = format!("use = \"{}\"", component.name);
        assert!(component.example.starts_with(&own), "{}", component.name);
    }
}
