//! The task files of the repository: they fit the schema, and those with bundled data are asked of a tiny model.

use lyceum_components::Device;
use lyceum_components::Precision;
use lyceum_components::inference::LanguageModel;
use lyceum_components::tasks::{Settings, Task, TaskFile, measure};
use lyceum_tests::Lab;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const BUNDLED: [&str; 6] = [
    "bigbench-novel-concepts",
    "copa",
    "mr",
    "openbookqa",
    "selfinst",
    "winogrande",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the repository")
}

fn model() -> PathBuf {
    root().join("tests/golden/models/llama3")
}

fn task(name: &str) -> PathBuf {
    root().join(format!("experiments/tasks/{name}.toml"))
}

fn task_files() -> Vec<PathBuf> {
    let mut files = lyceum_tests::files_under(&root().join("experiments/tasks"));
    files.sort();
    files
}

fn settings(batch_size: usize) -> Settings {
    Settings {
        limit: Some(3),
        shots: None,
        seed: 0,
        batch_size,
    }
}

#[test]
fn every_task_file_is_read_and_named_as_its_file() {
    let files = task_files();
    assert!(files.len() >= 30);
    let mut bundled = BTreeSet::new();
    for file in files {
        let task = TaskFile::read(&file).unwrap_or_else(|error| panic!("{error}"));
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        assert_eq!(task.name, name);
        assert!(task.licence.is_some() && task.summary.is_some(), "{name}");
        if Task::open(&file, None).is_ok() {
            bundled.insert(name);
        }
    }
    assert!(bundled.iter().map(String::as_str).eq(BUNDLED), "{bundled:?}");
}

#[test]
fn every_task_makes_questions_of_the_shared_data() {
    let named = std::env::var_os("LYCEUM_DATA").filter(|name| !name.is_empty());
    let Some(data) = named.map(PathBuf::from) else {
        eprintln!("skipped: LYCEUM_DATA is not set");
        return;
    };
    for file in task_files() {
        let task = Task::open(&file, Some(&data)).unwrap_or_else(|error| panic!("{error}"));
        let all = Settings {
            limit: None,
            ..settings(1)
        };
        let items = all.items(&task).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(items.len(), task.records(), "{}", file.display());
    }
}

#[test]
fn a_tiny_model_answers_bundled_tasks_whatever_the_batch_size() {
    let device = Device::flex();
    let model = LanguageModel::open_folder(&model(), &device, Precision::F32).expect("a model");
    for name in BUNDLED {
        let task = Task::open(&task(name), None).expect("a task");
        let items = settings(1).items(&task).expect("items");
        let ask = |batch_size| {
            measure(&task, &items, &model, &settings(batch_size), &device, &mut |_| {
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{name}: {error}"))
        };
        let figures = ask(1);
        assert!(!figures.is_empty());
        for figure in &figures {
            assert_eq!(figure.parts.len(), 3, "{name}");
            assert!((0.0..=1.0).contains(&figure.value), "{name} {figure:?}");
        }
        assert_eq!(figures, ask(4), "{name}");
    }
}

#[test]
fn eval_shows_a_table_of_figures() {
    let lab = Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"));
    let (model, copa) = (model(), task("copa"));
    let arguments = |tasks: &str| -> Vec<String> {
        let model = model.display().to_string();
        ["eval", "--model", &model, "--tasks", tasks, "--limit", "4"]
            .map(str::to_owned)
            .to_vec()
    };
    let run = |arguments: Vec<String>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        lab.lyceum(&arguments)
    };
    let copa = copa.display().to_string();
    let shown = run(arguments(&copa)).exits(0);
    for text in ["task", "copa", "acc_norm", "±"] {
        assert!(shown.stdout.contains(text), "{}", shown.stdout);
    }
    let mut more = arguments(&copa);
    more.extend(["--format", "json", "--shots", "2"].map(str::to_owned));
    let rows = run(more).exits(0).json();
    assert_eq!(rows[0]["metric"], "acc");
    assert_eq!(rows[0]["n"], 4);
    let here = lab
        .path("")
        .canonicalize()
        .expect("the folder")
        .display()
        .to_string();
    run(arguments("copa"))
        .exits(2)
        .says(&["`copa`", "experiments/tasks", &here, "hint: "]);
    lab.write("bad.toml", "name = \"bad\"\nversoin = 1\n");
    run(arguments("bad.toml"))
        .exits(2)
        .says(&["versoin", "line 2", "`version`"]);
}

#[test]
fn a_changed_data_file_changes_the_key() {
    let lab = Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"));
    lab.write("data.jsonl", "{\"q\": \"a\"}\n");
    lab.write(
        "t.toml",
        "name = \"t\"\nversion = 1\nsource = { file = \"data.jsonl\" }\ntext = \"{{ q }}\"\n[last_word]\ntarget = \"b\"\n",
    );
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let bytes = std::fs::read(model().join(file)).expect("the fixture");
        lab.write(&format!("model/{file}"), bytes);
    }
    lab.write(
        "a.toml",
        "[experiment]\nname = \"a\"\n[steps.model]\nuse = \"model.load\"\nfolder = \"model\"\n[steps.tasks]\nuse = \
         \"evaluate.tasks\"\nmodels = \"@model\"\ntasks = [\"t.toml\"]\n",
    );
    lab.lyceum(&["run", "a.toml"]).exits(0);
    assert!(
        lab.lyceum(&["run", "a.toml"])
            .exits(0)
            .cached()
            .contains(&"tasks")
    );
    lab.write("data.jsonl", "{\"q\": \"c\"}\n");
    assert!(
        !lab.lyceum(&["run", "a.toml"])
            .exits(0)
            .cached()
            .contains(&"tasks")
    );
    std::fs::remove_file(lab.path("data.jsonl")).expect("removes");
    lab.lyceum(&["run", "a.toml"])
        .exits(2)
        .says(&["missing_file", "data.jsonl"]);
}

#[test]
fn the_guides_task_is_one() {
    let page = std::fs::read_to_string(root().join("docs/tasks.md")).expect("the page");
    let block = |fence: &str| {
        let rest = page.split(fence).nth(1).expect("a block");
        rest.split("```").next().expect("its end").to_owned()
    };
    let lab = Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"));
    lab.write("capitals.toml", block("```toml\n"));
    let record = block("```json\n");
    let more = record.replace("France", "Spain").replace("Paris", "Madrid");
    let last = record.replace("France", "Italy").replace("Paris", "Rome");
    lab.write("capitals.jsonl", format!("{record}{more}{last}"));
    let task = Task::open(&lab.path("capitals.toml"), None).expect("a task");
    let all = Settings {
        limit: None,
        ..settings(1)
    };
    assert_eq!(all.items(&task).expect("items").len(), 3);
}

#[test]
fn what_a_model_writes_is_compared_with_references() {
    let folder = root().join("tests/golden/models/llama2");
    let text = std::fs::read(folder.join("expected.json")).expect("expectations");
    let expected: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    let texts: Vec<String> = serde_json::from_value(expected["texts"].clone()).expect("texts");
    let greedy: Vec<Vec<u32>> = serde_json::from_value(expected["greedy"].clone()).expect("ids");
    // What transformers goes on with, up to the first token that ends a text.
    let model = LanguageModel::open_folder(&folder, &Device::flex(), Precision::F32).expect("a model");
    let answer = |ids: &[u32]| {
        let kept: Vec<u32> = ids.iter().copied().take(24).take_while(|&id| id != 299).collect();
        model.decode(&kept).expect("a text")
    };
    let answers: Vec<String> = greedy.iter().map(|ids| answer(ids)).collect();
    let lab = Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"));
    for name in lyceum_tests::list(&folder) {
        let content = std::fs::read(folder.join(&name)).expect("the checkpoint");
        lab.write(&format!("model/{name}"), content);
    }
    // The right answer; another one beside the right one; a wrong one.
    let wrong = "xylophone quarterdeck";
    let references = [(&answers[0], ""), (&answers[1], wrong), (&wrong.to_owned(), "")];
    let line = |(text, (right, other)): (&String, (&String, &str))| {
        serde_json::json!({ "text": text, "right": right, "other": other }).to_string() + "\n"
    };
    lab.write(
        "prompts.jsonl",
        texts.iter().zip(references).map(line).collect::<String>(),
    );
    let experiment = |more: &str| {
        format!(
            r#"
[experiment]
name = "written"
seed = 3
[steps.prompts]
use = "corpus.jsonl"
files = ["prompts.jsonl"]
keep_columns = ["right", "other"]
[steps.model]
use = "model.load"
folder = "model"
[steps.quality]
use = "evaluate.generation"
models = "@model"
prompts = "@prompts"
references = ["{{{{ other }}}}", "{{{{ right }}}}"]
metrics = ["exact_match", "rouge_l"]
{more}
"#
        )
    };
    let table = |more: &str| {
        lab.write("a.toml", experiment(more));
        lab.lyceum(&["run", "a.toml"]).exits(0);
        lab.lyceum(&["export", "quality", "--to", "out", "--as", "json", "--force"])
            .exits(0);
        let text = std::fs::read(lab.path("out/table.json")).expect("the table");
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&text).expect("JSON");
        let named = rows.into_iter().map(|row| {
            let metric = row["metric"].as_str().expect("a name").to_owned();
            (metric, row)
        });
        named.collect::<std::collections::BTreeMap<_, _>>()
    };
    let greedy = table("sampling = { max_tokens = 24 }");
    let right = 2.0 / 3.0;
    assert_eq!(greedy["exact_match"]["value"], right, "{greedy:?} {answers:?}");
    assert_eq!(greedy["exact_match"]["n"], 3);
    // ROUGE sees words only, and finds none in common with the wrong answer.
    assert_eq!(greedy["rouge_l"]["value"], right, "{greedy:?} {answers:?}");
    // √(2 · (1/3)² + (2/3)²) / 3: the bootstrap's error of 1, 1 and 0.
    let error = (6.0_f64 / 9.0).sqrt() / 3.0;
    let found = greedy["exact_match"]["standard_error"]
        .as_f64()
        .expect("a number");
    assert!((found - error).abs() < 1e-12, "{found}");

    let drawn = "sampling = { max_tokens = 24, temperature = 1.0 }\ndraws = 3";
    let one = table(&format!("{drawn}\nbatch_size = 1"));
    assert!(
        one["exact_match_std"]["value"].is_number() && one["rouge_l_std"]["n"] == 3,
        "{one:?}"
    );
    std::fs::remove_dir_all(lab.path(".lyceum/store/evaluate.generation")).expect("removed");
    assert_eq!(table(&format!("{drawn}\nbatch_size = 4")), one);
}
