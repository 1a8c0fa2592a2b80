//! `lyceum completions`.

use super::empty_lab;

#[test]
fn every_shell_gets_a_script_that_knows_the_verbs() {
    let lab = empty_lab();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = lab.lyceum(&["completions", shell]).exits(0);
        for verb in ["validate", "report", "completions"] {
            assert!(ended.stdout.contains(verb), "{shell}: {verb}");
        }
        assert_eq!(ended.stderr, "");
    }
    lab.lyceum(&["completions", "none"]).exits(2);
}

#[test]
fn bash_reads_its_script_and_completes_a_verb() {
    let lab = empty_lab();
    let script = lab.lyceum(&["completions", "bash"]).exits(0).stdout;
    lab.write("lyceum.bash", script);
    let ask = "source ./lyceum.bash; COMP_WORDS=(lyceum comple); COMP_CWORD=1; \
               _lyceum lyceum comple lyceum; echo \"${COMPREPLY[@]}\"";
    let Ok(out) = std::process::Command::new("bash")
        .args(["--norc", "-c", ask])
        .current_dir(lab.path("."))
        .output()
    else {
        eprintln!("skipped: there is no bash here");
        return;
    };
    let said = String::from_utf8_lossy(&out.stdout);
    assert_eq!(
        said.trim(),
        "completions",
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
}
