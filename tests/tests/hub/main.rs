//! `lyceum download` against a hub on this machine.

#![cfg(unix)]

mod refused;
mod resumed;
mod server;

use lyceum_tests::{Ended, Lab, list};
use server::{COMMIT, Hub, REPOSITORY};
use std::fs;
use std::path::{Path, PathBuf};

const TOKEN: &str = "hf_aSecretThatNobodySees";
/// Servers of this machine are not asked for through a proxy, whatever runs these tests.
const DIRECT: (&str, &str) = ("NO_PROXY", "127.0.0.1");

fn lab() -> Lab {
    Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"))
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden/models")
        .join(name)
}

/// Downloads to `model`, as one does it.
fn download(lab: &Lab, hub: &Hub, environment: &[(&str, &str)]) -> Ended {
    let all = [
        &[("HF_ENDPOINT", hub.address.as_str()), ("HF_TOKEN", TOKEN), DIRECT],
        environment,
    ]
    .concat();
    let ended = Ended::of(lab.start_with(
        &[
            "download",
            REPOSITORY,
            "--revision",
            COMMIT,
            "--to",
            "models/mine",
        ],
        &all,
    ));
    let talk = format!("{}{}", ended.stdout, ended.stderr);
    assert!(
        !talk.contains(TOKEN) && !talk.contains("panicked") && !talk.contains("signature"),
        "{talk}"
    );
    ended
}

/// Checks that the folder holds what is read of the fixture, byte for byte, and nothing else; and that nothing is left.
#[track_caller]
fn assert_fetched(lab: &Lab, fixture: &Path) {
    let model = lab.path("models/mine");
    let mut expected = list(fixture);
    expected.retain(|name| !name.starts_with("expected."));
    assert_eq!(list(&model), expected);
    for name in expected {
        let (ours, theirs) = (fs::read(model.join(&name)), fs::read(fixture.join(&name)));
        assert!(ours.expect("a file") == theirs.expect("a file"), "{name}");
    }
    assert_eq!(list(&lab.path("models")), ["mine"]);
}

#[test]
fn a_model_is_fetched_as_it_is_and_loads() {
    for name in ["llama2", "mistral_sharded"] {
        let (lab, hub) = (lab(), Hub::of(&fixture(name)));
        let ended = download(&lab, &hub, &[]).exits(0);
        assert_eq!(ended.stdout, "models/mine\n");
        assert_fetched(&lab, &fixture(name));
        let asked = hub.asked();
        assert!(asked.iter().any(|asked| asked.second), "{asked:?}");
        for one in asked {
            // Only the hub learns who asks.
            assert_eq!(
                one.token,
                (!one.second).then(|| format!("Bearer {TOKEN}")),
                "{one:?}"
            );
            let wanted = ["README", ".py", ".bin", "onnx"];
            assert!(!wanted.iter().any(|end| one.path.contains(end)), "{one:?}");
        }
        let made = [
            "generate",
            "--model",
            "models/mine",
            "--prompt",
            "The cat",
            "--max-tokens",
            "4",
        ];
        lab.lyceum(&made).exits(0);
        let written = lyceum_tests::files_under(&lab.path("models"));
        for file in written {
            let content = fs::read(file).expect("a file");
            assert!(!content.windows(TOKEN.len()).any(|part| part == TOKEN.as_bytes()));
        }
    }
}

#[test]
fn the_token_is_not_sent_where_others_listen() {
    let lab = lab();
    // Nothing listens there; what counts is what is said before.
    let arguments = [
        "download",
        REPOSITORY,
        "--revision",
        COMMIT,
        "--to",
        "m",
        "--endpoint",
        "http://hub.invalid:9",
    ];
    let ended = Ended::of(lab.start_with(
        &arguments,
        &[("HF_TOKEN", TOKEN), ("http_proxy", "http://127.0.0.1:9")],
    ));
    ended.says(&[
        "HF_TOKEN is not sent",
        "http://hub.invalid:9",
        "hub_unreachable",
        "hint: ",
    ]);
    assert_eq!(ended.code, Some(3));
    assert!(!lab.path("m").exists());
}

#[test]
fn an_endpoint_may_be_named_in_two_ways() {
    let (lab, hub) = (lab(), Hub::of(&fixture("gpt2")));
    let named = [
        "download",
        REPOSITORY,
        "--revision",
        COMMIT,
        "--to",
        "m",
        "--endpoint",
        &hub.address,
    ];
    Ended::of(lab.start_with(&named, &[("HF_ENDPOINT", "https://hub.invalid"), DIRECT])).exits(0);
    assert!(hub.asked().iter().all(|asked| asked.token.is_none()));
    let unnamed = ["download", REPOSITORY, "--revision", COMMIT, "--to", "other"];
    Ended::of(lab.start_with(&unnamed, &[("HF_ENDPOINT", "nonsense")]))
        .exits(2)
        .says(&["HF_ENDPOINT"]);
}
