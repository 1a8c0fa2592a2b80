//! What `lyceum validate` says about files that are wrong, whatever components there are.

use std::fs;
use std::process::Command;

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
    format!(
        "exit {}\n-- stdout\n{}-- stderr\n{}",
        output.status.code().expect("an exit status"),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
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
