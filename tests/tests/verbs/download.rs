//! `lyceum download` in a program built without downloads: it says so, and what is wrong with its arguments before that.

use super::empty_lab;

const COMMIT: &str = "607a30d783dfa663caf39e06633721c8d4cfcd7e";

#[test]
#[cfg(not(feature = "hub"))]
fn a_program_without_downloads_says_how_to_get_them() {
    let lab = empty_lab();
    let ended = lab.lyceum(&["download", "someone/tiny", "--revision", COMMIT, "--to", "m"]);
    ended
        .exits(2)
        .says(&["hub_not_built", "`someone/tiny`", "hint: ", "--features hub"]);
    assert!(!lab.path("m").exists());
}

#[test]
fn arguments_are_checked_first() {
    let lab = empty_lab();
    lab.write("full/file", "mine");
    for (repository, revision, to, says) in [
        ("someone/tiny", "main", "m", "40 hex digits"),
        ("someone/../tiny", COMMIT, "m", "OWNER/NAME"),
        ("someone/tiny", COMMIT, "full", "holds something already"),
    ] {
        let arguments = ["download", repository, "--revision", revision, "--to", to];
        lab.lyceum(&arguments).exits(2).says(&[says]);
    }
    let elsewhere = ["--endpoint", "ftp://hub.example"];
    let arguments = [
        &["download", "a/b", "--revision", COMMIT, "--to", "m"][..],
        &elsewhere,
    ]
    .concat();
    lab.lyceum(&arguments).exits(2).says(&["--endpoint", "https://"]);
}
