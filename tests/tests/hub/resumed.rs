//! Downloads that are stopped, in every way, and go on.

use super::server::Hub;
use super::{assert_fetched, download, fixture, lab};
use lyceum_tests::{Ended, list};
use std::fs;

const WEIGHTS: &str = "model.safetensors";

#[test]
fn a_connection_that_breaks_off_is_gone_on_with() {
    let (lab, hub) = (lab(), Hub::of(&fixture("llama2")));
    hub.cut(WEIGHTS, &[50_000, 20_000]);
    download(&lab, &hub, &[])
        .exits(0)
        .says(&["cannot be read from", "asking again"]);
    assert_fetched(&lab, &fixture("llama2"));
    let ranges: Vec<String> = hub
        .asked()
        .into_iter()
        .filter_map(|one| one.range.filter(|_| one.second))
        .collect();
    assert_eq!(ranges, ["bytes=50000-", "bytes=70000-"]);
}

#[test]
fn a_server_that_begins_anew_is_taken_at_its_word() {
    let (lab, hub) = (lab(), Hub::of(&fixture("llama2")));
    hub.without_ranges();
    hub.cut(WEIGHTS, &[50_000]);
    download(&lab, &hub, &[]).exits(0);
    assert_fetched(&lab, &fixture("llama2"));
}

#[test]
fn killed_at_any_change_of_the_disk_it_goes_on_to_the_same_bytes() {
    let hub = Hub::of(&fixture("mistral_sharded"));
    let log = lab();
    let file = log.path("log");
    download(&log, &hub, &[("LYCEUM_FAULT_LOG", file.to_str().expect("text"))]).exits(0);
    let operations = fs::read_to_string(file).expect("a log").lines().count();
    assert!(operations > 30, "{operations}");
    // Some of them, the last ones among them: those that publish.
    let some = (1..=operations).filter(|n| n % 5 == 1 || n + 6 > operations);
    for n in some {
        let lab = lab();
        let killed = download(&lab, &hub, &[("LYCEUM_FAULT", &format!("kill:{n}"))]);
        assert_eq!(killed.code, None, "{n}: {}", killed.stderr);
        if lab.path("models/mine").exists() {
            // Published before the kill: it is whole.
            fs::remove_dir_all(lab.path("models/.mine.download")).expect("removed");
        } else {
            hub.asked();
            let whole: Vec<String> = list(&lab.path("models/.mine.download/files"));
            download(&lab, &hub, &[]).exits(0);
            let asked = hub.asked();
            for name in whole {
                let of = |path: &str| {
                    path.split('?')
                        .next()
                        .is_some_and(|path| path.ends_with(&format!("/{name}")))
                };
                assert!(!asked.iter().any(|one| of(&one.path)), "{n}: {name} again");
            }
        }
        assert_fetched(&lab, &fixture("mistral_sharded"));
    }
}

#[test]
fn a_full_disk_and_an_interrupt_keep_what_is_there() {
    let (lab, hub) = (lab(), Hub::of(&fixture("llama2")));
    download(&lab, &hub, &[("LYCEUM_FAULT", "enospc:25")])
        .exits(3)
        .says(&["disk_full", "hint: "]);
    assert!(!lab.path("models/mine").exists());
    download(&lab, &hub, &[]).exits(0).says(&["going on"]);
    assert_fetched(&lab, &fixture("llama2"));

    let lab = super::lab();
    // A server that accepts and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", silent.local_addr().expect("an address"));
    let arguments = [
        "download",
        "a/b",
        "--revision",
        super::COMMIT,
        "--to",
        "m",
        "--endpoint",
        &address,
    ];
    let child = lab.start_with(&arguments, &[super::DIRECT]);
    let accepted = silent.accept().expect("a connection");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("a signal");
    Ended::of(child).exits(130).says(&["interrupted"]);
    drop(accepted);
}

#[test]
fn another_commit_begins_afresh_and_a_strangers_folder_is_left_alone() {
    let (lab, hub) = (lab(), Hub::of(&fixture("llama2")));
    download(&lab, &hub, &[("LYCEUM_FAULT", "enospc:25")]).exits(3);
    let state = lab.path("models/.mine.download/download.json");
    let text = fs::read_to_string(&state).expect("a state");
    assert!(text.contains(super::COMMIT) && !text.contains(super::TOKEN));
    fs::write(&state, text.replace(super::COMMIT, &"0".repeat(40))).expect("written");
    fs::write(lab.path("models/.mine.download/files/config.json"), "another's").expect("written");
    let ended = download(&lab, &hub, &[]).exits(0);
    assert!(!ended.stderr.contains("going on"), "{}", ended.stderr);
    assert_fetched(&lab, &fixture("llama2"));

    let lab = super::lab();
    lab.write("models/.mine.download/thesis.txt", "mine");
    download(&lab, &hub, &[])
        .exits(3)
        .says(&["not_ours", ".mine.download", "hint: "]);
    assert_eq!(list(&lab.path("models/.mine.download")), ["thesis.txt"]);
}
