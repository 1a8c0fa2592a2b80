//! `lyceum report`: again, over several runs, as a page, by a template of one's own, in no time.

use super::{finished, lab};
use lyceum_tests::Lab;
use std::fs;
use std::process::Command;

fn report(lab: &Lab, more: &[&str]) -> String {
    let file = lab.lyceum(&[&["report"], more].concat()).exits(0).stdout;
    fs::read_to_string(lab.path(file.trim_end())).expect("a report")
}

#[test]
fn text_of_a_user_stays_text() {
    let text = report(finished(), &["latest"]);
    assert!(
        text.starts_with("# A small &lt;b>experiment&lt;/b> &amp; its \\$costs\\$ \\~here\\~\n"),
        "{text}"
    );
    assert!(text.contains("| fast \\| is &lt;better> |"), "{text}");
}

#[test]
fn runs_of_different_experiments_are_judged_each_and_set_side_by_side() {
    let lab = lab();
    let run = |more: &[&str]| {
        let run = lab
            .lyceum(&[&["run", "small.toml", "--format", "json"], more].concat())
            .exits(0)
            .json();
        run["run"].as_str().expect("an id").to_owned()
    };
    let ids = [
        run(&[]),
        run(&["--set", "experiment.seed=1"]),
        run(&["--set", "steps.model.model.hidden_size=8"]),
    ];
    let text = report(&lab, &[&ids[0], &ids[1], &ids[2], "--to", "all"]);
    let line = |start: &str| {
        text.lines()
            .filter(|line| line.starts_with(start))
            .collect::<Vec<_>>()
    };
    let claims = line("| fast ");
    assert_eq!(claims.len(), 2, "one verdict an experiment: {text}");
    assert!(
        claims[0].ends_with("| 2 | seeds |") && claims[1].ends_with("| one run, instances |"),
        "{claims:?}"
    );
    let beside = line("| quality.loss |");
    assert_eq!(beside.len(), 2, "a line a variant: {text}");
    let cells: Vec<f64> = beside[0]
        .split('|')
        .filter_map(|cell| cell.trim().parse().ok())
        .collect();
    assert!(
        cells.len() == 3 && cells[0] != cells[1] && cells[1] != cells[2],
        "{beside:?}"
    );
    assert!(!report(&lab, &[&ids[0]]).contains("Side by side"));
}

#[test]
fn a_metric_that_two_steps_measured_is_asked_back() {
    let lab = lab();
    let spec = fs::read_to_string(lab.path("small.toml")).expect("a spec");
    let two = spec.replace(
        "data = \"@tokens.valid\"\n[[claims",
        "matrix.data = { here = \"@tokens.valid\", there = \"@tokens.train\" }\n[[claims",
    );
    assert_ne!(spec, two);
    lab.write("small.toml", &two);
    lab.lyceum(&["run", "small.toml"]).exits(0);
    let text = report(&lab, &["latest"]);
    assert!(
        text.contains("say which is meant, as in \\`quality\\[here\\].loss\\`"),
        "{text}"
    );
    assert!(text.contains("**not decided**"), "{text}");

    lab.write("small.toml", two.replace("quality.loss", "quality[there].loss"));
    lab.lyceum(&["run", "small.toml"]).exits(0);
    let text = report(&lab, &["latest"]);
    assert!(
        text.contains("| quality\\[there\\].loss |") && !text.contains("not decided"),
        "{text}"
    );

    lab.write("small.toml", two.replace("quality.loss", "quality[nowhere].loss"));
    lab.lyceum(&["validate", "small.toml"]).exits(2).says(&[
        "unknown_variant",
        "quality[nowhere]",
        "quality[here]",
    ]);
}

#[test]
fn what_cannot_be_read_is_said_and_the_rest_is_shown() {
    let lab = lab();
    lab.lyceum(&["run", "small.toml"]).exits(0);
    let steps = lab.path(".lyceum/runs/latest/steps");
    fs::write(steps.join("model[slow]/metrics.parquet"), "no Parquet").expect("written");
    fs::remove_dir_all(fs::canonicalize(steps.join("quality")).expect("a folder")).expect("it goes");
    let text = report(&lab, &["latest"]);
    assert!(
        text.contains("- What step `model[slow]` left cannot be shown: "),
        "{text}"
    );
    assert!(
        text.contains(
            "- What step `quality` left cannot be shown: its artifact is not in the store any more."
        )
    );
    assert!(text.contains("| model\\[fast\\] |"), "{text}");
}

#[test]
fn a_template_of_ones_own() {
    let lab = lab();
    lab.write(
        "mine.md.j2",
        "# Mine: {{ title|cell }}\n{% for run in runs %}{{ run.id|code }}{% endfor %}\n",
    );
    let own = ["--set", "report.template=mine.md.j2"];
    lab.lyceum(&[&["run", "small.toml"], &own[..]].concat()).exits(0);
    let text = fs::read_to_string(lab.path(".lyceum/runs/latest/report.md")).expect("a report");
    assert!(
        text.starts_with("# Mine: A small") && text.contains("`20"),
        "{text}"
    );
    lab.write("mine.md.j2", "{% include 'small.toml' %}");
    lab.lyceum(&["report", "latest"]).exits(3).says(&["mine.md.j2"]);
    for (template, code) in [
        ("../other.md.j2", "outside_root"),
        ("none.md.j2", "missing_file"),
        ("none", "unknown_value"),
    ] {
        let set = format!("report.template={template}");
        lab.lyceum(&["validate", "small.toml", "--set", &set])
            .exits(2)
            .says(&[code]);
    }
}

/// Everything a page could load from elsewhere, as a browser sees it.
fn browse(page: &std::path::Path, more: &[&str]) -> Option<(String, String)> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let profile = tempfile::tempdir().expect("a folder");
    let user = format!("--user-data-dir={}", profile.path().display());
    let found = names.iter().find_map(|name| {
        let mut command = Command::new(name);
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ]);
        command
            .args(["--enable-logging=stderr", "--virtual-time-budget=2000", &user])
            .args(more);
        command
            .arg("--dump-dom")
            .arg(format!("file://{}", page.display()))
            .output()
            .ok()
    });
    let Some(found) = found else {
        eprintln!("skipped: there is no Chromium here");
        return None;
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some((text(&found.stdout), text(&found.stderr)))
}

#[test]
fn a_browser_shows_the_page_without_an_error() {
    let lab = finished();
    let file = lab
        .lyceum(&["report", "latest", "--html", "--to", "page"])
        .exits(0)
        .stdout;
    assert_eq!(file, "page/report.html\n");
    let page = fs::read_to_string(lab.path("page/report.html")).expect("a page");
    for outside in [
        "http://", "https://", "src=", "url(", "@import", "<link", "<script",
    ] {
        // The namespace of SVG is a name, not an address.
        let without = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!without.contains(outside), "{outside}");
    }
    let Some((dom, talk)) = browse(&lab.path("page/report.html"), &[]) else {
        return;
    };
    let errors: Vec<_> = talk.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert_eq!(errors, [""; 0]);
    for part in [
        "<h1>A small &lt;b&gt;experiment",
        "<svg",
        "</table>",
        "<details>",
        "fast | is &lt;better&gt;",
    ] {
        assert!(dom.contains(part), "{part}");
    }
    // The same check sees an error where there is one.
    let broken = page.replace("<body>", "<body><script>x()</script>");
    fs::write(lab.path("page/broken.html"), broken).expect("written");
    let (_, talk) = browse(&lab.path("page/broken.html"), &[]).expect("as before");
    assert!(talk.contains("CONSOLE"), "{talk}");
}
