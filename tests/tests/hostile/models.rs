//! Folders of models that are not what they say.

use super::{lab, limited};
use lyceum_tests::{Ended, Lab};
use std::fs;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden/models")
        .join(name)
}

/// A lab with a copy of a fixture in `model/`, and an experiment that loads it.
fn with_model(name: &str) -> Lab {
    let lab = lab();
    for entry in fs::read_dir(fixture(name)).expect("the fixture") {
        let entry = entry.expect("an entry");
        let content = fs::read(entry.path()).expect("readable");
        lab.write(&format!("model/{}", entry.file_name().to_string_lossy()), content);
    }
    lab.write(
        "e.toml",
        "[experiment]\nname = \"load\"\n[steps.mine]\nuse = \"model.load\"\nfolder = \"model\"\n",
    );
    lab
}

fn run(lab: &Lab, code: i32) -> Ended {
    let ended = limited(lab, &["run", "e.toml"]).exits(code);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    ended
}

fn weights(lab: &Lab) -> (PathBuf, Vec<u8>) {
    let file = lab.path("model/model.safetensors");
    let content = fs::read(&file).expect("weights");
    (file, content)
}

#[test]
fn a_sound_folder_is_loaded_once_and_its_place_does_not_matter() {
    let lab = with_model("llama2");
    run(&lab, 0);
    fs::rename(lab.path("model"), lab.path("moved")).expect("moved");
    let moved = fs::read_to_string(lab.path("e.toml"))
        .expect("text")
        .replace("\"model\"", "\"moved\"");
    lab.write("e.toml", moved);
    assert_eq!(run(&lab, 0).cached().len(), 1);
    let config = lab.path("moved/config.json");
    let text = fs::read_to_string(&config)
        .expect("text")
        .replace("1e-06", "1e-05");
    fs::write(config, text).expect("written");
    assert!(
        run(&lab, 0).cached().is_empty(),
        "another configuration is another model"
    );
}

#[test]
fn truncated_weights_are_refused() {
    let lab = with_model("llama2");
    let (file, content) = weights(&lab);
    for length in [0, 7, 8, 100, content.len() - 1] {
        fs::write(&file, &content[..length]).expect("written");
        run(&lab, 3).says(&["bad_safetensors", "model.safetensors", "fetch the file again"]);
    }
}

#[test]
fn weights_that_lie_are_refused_without_room_being_made() {
    let lab = with_model("llama2");
    let (file, content) = weights(&lab);
    let header = u64::from_le_bytes(content[..8].try_into().expect("eight bytes")) as usize;
    let text = String::from_utf8(content[8..8 + header].to_vec()).expect("JSON");
    let lying = |change: &dyn Fn(&str) -> String| {
        let text = change(&text);
        let mut lying = (text.len() as u64).to_le_bytes().to_vec();
        lying.extend(text.as_bytes());
        lying.extend(&content[8 + header..]);
        fs::write(&file, lying).expect("written");
        run(&lab, 3)
    };
    lying(&|text| text.replacen("[300,", "[300000000000,", 1)).says(&["bad_safetensors"]);
    lying(&|text| text.replacen("model.norm.weight", "model.morn.weight", 1)).says(&[
        "missing_tensor",
        "model.norm.weight",
        "config.json",
    ]);
    lying(&|text| text.replacen("\"F32\"", "\"I32\"", 1)).says(&["bad_safetensors", "I32"]);
    let mut huge = content.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    fs::write(&file, huge).expect("written");
    run(&lab, 3).says(&["bad_safetensors"]);
    fs::write(&file, &content).expect("written");
    let config = lab.path("model/config.json");
    let sound = fs::read_to_string(&config).expect("text");
    let layers = |number: &str| {
        sound.replace(
            "\"num_hidden_layers\": 2",
            &format!("\"num_hidden_layers\": {number}"),
        )
    };
    for (number, code) in [
        ("3", "missing_tensor"),
        ("900000000000", "bad_config"),
        ("-1", "bad_config"),
        ("\"2\"", "bad_config"),
    ] {
        fs::write(&config, layers(number)).expect("written");
        run(&lab, 3).says(&[code]);
    }
    fs::write(&config, sound.replace("\"llama\"", "\"t5\"")).expect("written");
    run(&lab, 3).says(&["unsupported_model", "t5", "there are llama"]);
}

#[test]
fn pickles_are_refused_with_the_line_that_converts_them() {
    for content in [&b"PK\x03\x04archive/data.pkl"[..], b"\x80\x02}q\x00."] {
        let lab = with_model("llama2");
        let (file, _) = weights(&lab);
        fs::write(&file, content).expect("written");
        run(&lab, 3).says(&["pickled_weights", "save_pretrained"]);
        fs::rename(&file, lab.path("model/pytorch_model.bin")).expect("moved");
        run(&lab, 3).says(&["pickled_weights", "pytorch_model.bin", "save_pretrained"]);
    }
}

#[test]
fn what_is_missing_is_named_with_where_to_get_it() {
    for (file, code) in [
        ("config.json", "no_config"),
        ("tokenizer.json", "no_tokenizer"),
        ("model.safetensors", "no_weights"),
    ] {
        let lab = with_model("llama2");
        fs::remove_file(lab.path(&format!("model/{file}"))).expect("removed");
        run(&lab, 3).says(&[code, file, "hint: "]);
    }
    let lab = with_model("mistral_sharded");
    run(&lab, 0);
    fs::remove_file(lab.path("model/model-00002-of-00003.safetensors")).expect("removed");
    run(&lab, 3).says(&["missing_shard", "model-00002-of-00003.safetensors"]);
    let lab = lab_without_model();
    limited(&lab, &["run", "e.toml"])
        .exits(2)
        .says(&["missing_file", "model"]);
}

fn lab_without_model() -> Lab {
    let lab = with_model("llama2");
    fs::remove_dir_all(lab.path("model")).expect("removed");
    lab
}

#[test]
fn of_several_files_the_one_with_the_mistake_is_named() {
    let lab = with_model("mistral_sharded");
    let changed = |shard: &str, from: &str, to: &str| {
        let file = lab.path(&format!("model/{shard}"));
        let sound = fs::read(&file).expect("weights");
        let header = u64::from_le_bytes(sound[..8].try_into().expect("eight bytes")) as usize;
        let text = String::from_utf8(sound[8..8 + header].to_vec()).expect("JSON");
        assert!(from.len() == to.len() && text.contains(from), "{text}");
        let lie = text.replacen(from, to, 1);
        let lying = [&sound[..8], lie.as_bytes(), &sound[8 + header..]].concat();
        fs::write(&file, lying).expect("written");
        let ended = run(&lab, 3);
        fs::write(&file, sound).expect("written");
        ended
    };
    let second = "model-00002-of-00003.safetensors";
    changed(second, "[48,32]", "[32,48]").says(&["bad_shape", second]);
    changed(second, "model.norm.weight", "model.morn.weight").says(&[
        "missing_tensor",
        "model.norm.weight",
        "model.safetensors.index.json",
    ]);
    let third = "model-00003-of-00003.safetensors";
    changed(third, "F32", "I32").says(&["bad_safetensors", "lm_head.weight", third]);
    run(&lab, 0);
}

#[test]
fn nothing_outside_the_folder_is_read() {
    let lab = with_model("mistral_sharded");
    lab.write("secret.safetensors", "secret");
    let index = lab.path("model/model.safetensors.index.json");
    let sound = fs::read_to_string(&index).expect("text");
    for elsewhere in [
        "../secret.safetensors",
        "/etc/passwd",
        "a/../../secret.safetensors",
    ] {
        fs::write(
            &index,
            sound.replace("model-00002-of-00003.safetensors", elsewhere),
        )
        .expect("written");
        run(&lab, 3).says(&["leaves_folder", elsewhere]);
    }
    fs::write(&index, sound).expect("written");
    let shard = lab.path("model/model-00002-of-00003.safetensors");
    fs::rename(&shard, lab.path("elsewhere.safetensors")).expect("moved");
    std::os::unix::fs::symlink(lab.path("elsewhere.safetensors"), &shard).expect("a link");
    run(&lab, 3).says(&["leaves_folder"]);
}

#[test]
fn links_into_a_hubs_cache_are_followed() {
    let lab = with_model("llama2");
    let snapshot = lab.path("hub/snapshots/abc");
    fs::create_dir_all(&snapshot).expect("made");
    fs::create_dir_all(lab.path("hub/blobs")).expect("made");
    for (i, entry) in fs::read_dir(lab.path("model")).expect("files").enumerate() {
        let entry = entry.expect("an entry");
        let blob = lab.path(&format!("hub/blobs/{i}"));
        fs::rename(entry.path(), &blob).expect("moved");
        std::os::unix::fs::symlink(format!("../../blobs/{i}"), snapshot.join(entry.file_name()))
            .expect("a link");
    }
    let text = fs::read_to_string(lab.path("e.toml")).expect("text");
    lab.write("e.toml", text.replace("\"model\"", "\"hub/snapshots/abc\""));
    run(&lab, 0);
}
