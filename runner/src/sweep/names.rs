//! Points and paths in few words.

use crate::spec::Sweep;
use serde_json::Value;
use std::collections::BTreeMap;

/// What a point sets, in one line: `steps.a.lr = 0.1, seed 2`.
pub(super) fn label(settings: &BTreeMap<String, Value>, seed: Option<u64>) -> String {
    let pairs = settings.iter().map(|(path, value)| format!("`{path} = {value}`"));
    let seed = seed.map(|seed| format!("seed {seed}"));
    let all: Vec<String> = pairs.chain(seed).collect();
    if all.is_empty() {
        "as written".to_owned()
    } else {
        all.join(", ")
    }
}

/// What points are called in few words.
#[derive(Debug)]
pub(super) struct Names {
    short: BTreeMap<String, String>,
    /// Paths of a zip that another of its paths tells, whose values are all different; with which value goes with which.
    told: BTreeMap<String, String>,
}

impl Names {
    /// The names of a sweep over `paths`.
    pub(super) fn new(paths: &[String], sweep: &Sweep) -> Self {
        let mut names = Self {
            short: short_names(paths),
            told: BTreeMap::new(),
        };
        let distinct = |values: &[Value]| (1..values.len()).all(|i| !values[..i].contains(&values[i]));
        if let Some((teller, at)) = sweep.zip.iter().find(|(_, values)| distinct(values)) {
            let teller = names.of(teller).to_owned();
            for (path, values) in sweep.zip.iter().filter(|(_, values)| !distinct(values)) {
                let pairs = values.iter().zip(at);
                let pairs = pairs.map(|(value, at)| format!("{} at {teller} {}", plain(value), plain(at)));
                names
                    .told
                    .insert(path.clone(), pairs.collect::<Vec<_>>().join(", "));
            }
        }
        names
    }

    /// What a path is called.
    pub(super) fn of<'a>(&'a self, path: &'a str) -> &'a str {
        self.short.get(path).map_or(path, String::as_str)
    }

    /// If another path tells what this one's value is: which value goes with which.
    pub(super) fn told(&self, path: &str) -> Option<&str> {
        self.told.get(path).map(String::as_str)
    }

    /// What a point sets, in one line, for tables: what another path tells is left out.
    pub(super) fn label(&self, settings: &BTreeMap<String, Value>) -> String {
        let telling = settings.iter().filter(|(path, _)| self.told(path).is_none());
        let pairs: Vec<String> = telling
            .map(|(path, value)| format!("{} = {}", self.of(path), plain(value)))
            .collect();
        if pairs.is_empty() {
            "as written".to_owned()
        } else {
            pairs.join(", ")
        }
    }
}

/// A value as a person writes it: text without quotes, large numbers by their power of ten.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(large) if number.is_f64() && large.abs() >= 1e6 => format!("{large:e}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// The shortest ending of every path that no other path ends in.
fn short_names(paths: &[String]) -> BTreeMap<String, String> {
    let ending = |path: &str, parts: usize| {
        let all: Vec<&str> = path.split('.').collect();
        all[all.len().saturating_sub(parts)..].join(".")
    };
    let shortest = |path: &String| {
        let unique = (1..path.split('.').count())
            .map(|parts| ending(path, parts))
            .find(|short| {
                let same = |other: &&String| ending(other, short.split('.').count()) == *short;
                paths.iter().filter(same).count() == 1
            });
        unique.unwrap_or_else(|| path.clone())
    };
    paths.iter().map(|path| (path.clone(), shortest(path))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_are_told_apart_by_their_ends() {
        let paths = ["steps.a.optim.lr", "steps.b.optim.lr", "steps.a.keep"].map(str::to_owned);
        let names: Vec<String> = short_names(&paths).into_values().collect();
        assert_eq!(names, ["keep", "a.optim.lr", "b.optim.lr"]);
    }

    #[test]
    fn what_goes_with_something_that_differs_everywhere_is_in_no_label() {
        let zip = json!({
            "steps.sft.flops": [2e11, 1e12, 6e12], "steps.kd.charge": [[], [], ["teacher"]], "steps.kd.lr": [0.1, 0.2, 0.3],
        });
        let sweep = Sweep {
            zip: serde_json::from_value(zip).expect("values by path"),
            ..Sweep::default()
        };
        let paths: Vec<String> = sweep.zip.keys().cloned().collect();
        let names = Names::new(&paths, &sweep);
        let point = |i: usize| {
            sweep
                .zip
                .iter()
                .map(|(path, values)| (path.clone(), values[i].clone()))
                .collect()
        };
        assert_eq!(names.label(&point(1)), "lr = 0.2, flops = 1e12");
        assert_eq!(
            names.told("steps.kd.charge"),
            Some(r#"[] at lr 0.1, [] at lr 0.2, ["teacher"] at lr 0.3"#)
        );
        assert_eq!(names.told("steps.kd.lr"), None);
        // Nothing tells the others where all of them repeat themselves.
        let repeated = Sweep {
            zip: [
                ("a".to_owned(), vec![json!(1), json!(1), json!(2)]),
                ("b".to_owned(), vec![json!(1), json!(2), json!(2)]),
            ]
            .into(),
            ..Sweep::default()
        };
        let names = Names::new(&["a".to_owned(), "b".to_owned()], &repeated);
        assert_eq!(
            names.label(&[("a".to_owned(), json!(1)), ("b".to_owned(), json!(2))].into()),
            "a = 1, b = 2"
        );
    }
}
