//! What the fuzz targets do with bytes: nothing that is read may panic.

mod files;

pub use files::{artifact, config, ipc, jsonl, parquet, safetensors, shards, tokenizer};

use lyceum::plan::Planner;
use lyceum::spec::{Options, Resolved, load_text, to_toml};
use lyceum::store::Store;
use lyceum_components::COMPONENTS;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Folder of the experiments: once a process, with a file of data in it and an empty store.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("lyceum-fuzz-{}", std::process::id()));
        for (name, text) in [
            ("lyceum.toml", ""),
            ("data/a.jsonl", "{\"id\": \"a\", \"text\": \"b c d\"}\n"),
            ("base.toml", "[experiment]\ntitle = \"base\"\n"),
        ] {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file in it");
        }
        folder
    })
}

/// Bytes of an experiment file, all the way to a plan, and the resolved experiment the same way again.
///
/// # Panics
/// Where the resolved experiment is not valid.
pub fn experiment(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let options = Options {
        assume: true,
        ..Options::default()
    };
    match read(text, &options) {
        Ok(resolved) => {
            plan(&resolved);
            let written = to_toml(&resolved);
            match read(&written, &options) {
                Ok(again) => {
                    let ids = |resolved: &Resolved| -> Vec<String> {
                        resolved.steps.iter().map(|step| step.id.clone()).collect()
                    };
                    assert_eq!(ids(&resolved), ids(&again), "other steps:\n{written}");
                }
                Err(shown) => panic!("the resolved experiment is refused:\n{shown}\n{written}"),
            }
        }
        Err(shown) => assert!(!shown.is_empty(), "refused without a reason"),
    }
}

/// The experiment, or its mistakes as they are shown.
fn read(text: &str, options: &Options) -> Result<Resolved, String> {
    load_text(text, &folder().join("a.toml"), COMPONENTS, options).map_err(|mistakes| {
        assert!(!mistakes.list.is_empty(), "refused without a mistake");
        mistakes.to_json();
        mistakes.render(false)
    })
}

fn plan(resolved: &Resolved) {
    let store = Store::new(folder().join(".lyceum"));
    // A file that is there in name only, such as a folder, is an answer too.
    let _ = Planner::new(&store).plan(resolved, true);
}
