//! Hubs that lie, and what they have that cannot be loaded: refused, and nothing is left in the place of the model.

use super::server::{COMMIT, Hub, REPOSITORY};
use super::{TOKEN, assert_fetched, download, fixture, lab};
use serde_json::json;

const WEIGHTS: &str = "model.safetensors";

/// Checks that nothing comes of it.
#[track_caller]
fn refused(hub: &Hub, says: &[&str]) {
    let lab = lab();
    let ended = download(&lab, hub, &[]).exits(3);
    ended.says(says);
    assert_eq!(ended.stdout, "");
    assert!(!lab.path("models/mine").exists());
}

#[test]
fn other_bytes_than_were_listed_are_not_taken() {
    let (lab, hub) = (lab(), Hub::of(&fixture("llama2")));
    let mut content = std::fs::read(fixture("llama2").join(WEIGHTS)).expect("weights");
    let length = content.len();
    content[length / 2] ^= 1;
    hub.lie(WEIGHTS, content.clone());
    download(&lab, &hub, &[])
        .exits(3)
        .says(&["wrong_hash", WEIGHTS, "hint: "]);
    assert!(!lab.path("models/mine").exists());
    assert!(
        !lab.path(&format!("models/.mine.download/{WEIGHTS}.part"))
            .exists()
    );
    content.extend([0; 100]);
    hub.lie(WEIGHTS, content);
    download(&lab, &hub, &[]).exits(3).says(&["wrong_size", WEIGHTS]);
    hub.honest();
    download(&lab, &hub, &[]).exits(0);
    assert_fetched(&lab, &fixture("llama2"));
}

#[test]
fn a_part_of_another_file_is_found_out() {
    let (lab, hub) = (lab(), Hub::of(&fixture("llama2")));
    hub.cut(WEIGHTS, &[50_000, 0, 0, 0]);
    download(&lab, &hub, &[]).exits(3).says(&["hub_unreachable"]);
    let part = lab.path(&format!("models/.mine.download/{WEIGHTS}.part"));
    let mut content = std::fs::read(&part).expect("a part");
    assert_eq!(content.len(), 50_000);
    content[9] ^= 1;
    std::fs::write(&part, content).expect("written");
    download(&lab, &hub, &[]).exits(3).says(&["wrong_hash"]);
    download(&lab, &hub, &[]).exits(0);
    assert_fetched(&lab, &fixture("llama2"));
}

#[test]
fn hubs_that_contradict_themselves_are_not_believed() {
    let hub = Hub::of(&fixture("gpt2"));
    let at = format!("/{REPOSITORY}/resolve/{COMMIT}/{WEIGHTS}");
    let location = format!("Location: {}/blobs/{WEIGHTS}\r\n", hub.second);
    hub.answer(
        &at,
        302,
        &format!("{location}X-Linked-Etag: \"{}\"\r\n", "0".repeat(64)),
        b"",
    );
    refused(&hub, &["wrong_hash", "two different"]);
    hub.answer(&at, 302, &format!("{location}X-Linked-Size: 7\r\n"), b"");
    refused(&hub, &["wrong_size"]);
    hub.answer(
        &at,
        302,
        &format!("{location}X-Repo-Commit: {}\r\n", "1".repeat(40)),
        b"",
    );
    refused(&hub, &["wrong_revision", COMMIT]);
    hub.answer(&at, 302, &format!("Location: {at}\r\n"), b"");
    refused(&hub, &["hub_failed", "leads elsewhere"]);
    hub.answer(&at, 302, "Location: file:///etc/passwd\r\n", b"");
    refused(&hub, &["hub_failed"]);
    for (status, code) in [
        (401, "hub_refused"),
        (403, "hub_refused"),
        (404, "hub_not_found"),
        (418, "hub_failed"),
    ] {
        hub.answer(&at, status, "", TOKEN.as_bytes());
        refused(&hub, &[code, &status.to_string()]);
    }
    hub.honest();
    let listing = format!("/api/models/{REPOSITORY}/revision/{COMMIT}?blobs=true");
    let mut other = hub.listing();
    other["sha"] = "2".repeat(40).into();
    hub.answer(&listing, 200, "", other.to_string().as_bytes());
    refused(&hub, &["wrong_revision"]);
    hub.answer(&listing, 200, "", b"<html>sign in</html>");
    refused(&hub, &["bad_listing", "--endpoint"]);
}

#[test]
fn what_cannot_be_loaded_is_not_fetched() {
    let hub = Hub::of(&fixture("gpt2"));
    hub.put(
        "config.json",
        json!({ "model_type": "t5" }).to_string().into_bytes(),
    );
    refused(&hub, &["unsupported_model", "t5"]);
    assert!(!hub.asked().iter().any(|one| one.path.contains(WEIGHTS)));

    let hub = Hub::of(&fixture("gpt2"));
    hub.remove(WEIGHTS);
    refused(&hub, &["pickled_weights", "pytorch_model.bin", "hint: "]);

    let hub = Hub::of(&fixture("mistral_sharded"));
    for name in [
        "../../config.json",
        "/etc/x.safetensors",
        "a/x.safetensors",
        "modeling_tiny.py",
    ] {
        let index = json!({ "weight_map": { "a": name } });
        hub.put("model.safetensors.index.json", index.to_string().into_bytes());
        refused(&hub, &["leaves_folder", name]);
    }
}

#[test]
fn what_is_asked_wrongly_is_asked_of_nobody() {
    let (lab, hub) = (lab(), Hub::of(&fixture("gpt2")));
    lab.write("full/file", "mine");
    for (repository, revision, to, says) in [
        (REPOSITORY, "main", "m", "40 hex digits"),
        ("../x", COMMIT, "m", "OWNER/NAME"),
        (REPOSITORY, COMMIT, "full", "holds something"),
        (REPOSITORY, COMMIT, "..", "holds something"),
    ] {
        let arguments = [
            "download",
            repository,
            "--revision",
            revision,
            "--to",
            to,
            "--endpoint",
            &hub.address,
        ];
        lab.lyceum(&arguments).exits(2).says(&[says]);
    }
    assert_eq!(hub.asked(), []);
}
