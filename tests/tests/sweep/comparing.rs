//! `lyceum compare`.

use super::lab;

#[test]
fn runs_are_compared_in_what_was_asked_measured_and_spent() {
    let lab = lab("");
    let run = |set: &[&str]| {
        let arguments = [&["run", "tiny.toml", "--format", "json"], set].concat();
        let id = lab.lyceum(&arguments).exits(0).json()["run"].clone();
        id.as_str().expect("an id").to_owned()
    };
    let first = run(&[]);
    let second = run(&["--set", "steps.found.keep=0.25", "--set", "experiment.seed=4"]);
    let third = run(&[]);

    let compared = lab
        .lyceum(&["compare", &first, "latest", "--format", "json"])
        .exits(0);
    let same = compared.json();
    assert_eq!(same["runs"], serde_json::json!([first, third]));
    assert_eq!(same["spec"], serde_json::json!([]));
    assert_eq!(same["cost"][0]["runs"][0]["cached"], false);
    assert_eq!(same["cost"][0]["runs"][1]["cached"], true);

    let compared = lab
        .lyceum(&["compare", &first, &second, &third, "--format", "json"])
        .exits(0)
        .json();
    let paths: Vec<_> = compared["spec"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| row["path"].clone())
        .collect();
    assert_eq!(paths, ["experiment.seed", "steps.found.keep"]);
    assert_eq!(compared["spec"][1]["values"], serde_json::json!([0.5, 0.25, 0.5]));
    let row = compared["metrics"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|row| row["metric"] == "recall" && row["variant"] == "chance[block]")
        .expect("recall of blocks");
    let values: Vec<f64> = row["values"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(serde_json::Value::as_f64)
        .collect();
    assert_eq!(values.len(), 3);
    let difference = row["differences"][0]["difference"].as_f64().expect("a number");
    assert!((difference - (values[1] - values[0])).abs() < 1e-12);
    assert!(values[1] < values[0], "half as many are kept: {values:?}");
    assert_eq!(row["differences"][1]["difference"], 0.0);

    let text = lab.lyceum(&["compare", &first, &second]).exits(0).stdout;
    for part in [
        "steps.found.keep",
        "0.25",
        "found.recall chance[block]",
        "cached",
        &first,
        &second,
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    lab.lyceum(&["compare", &first, "nothing"])
        .exits(2)
        .says(&["no run `nothing`"]);
    lab.lyceum(&["compare", &first]).exits(2);
}
