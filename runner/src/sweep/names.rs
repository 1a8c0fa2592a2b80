//! Points and paths in few words.

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

/// The same with short names, for tables.
pub(super) fn short_label(settings: &BTreeMap<String, Value>, short: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = settings
        .iter()
        .map(|(path, value)| format!("{} = {}", short.get(path).unwrap_or(path), plain(value)))
        .collect();
    if pairs.is_empty() {
        "as written".to_owned()
    } else {
        pairs.join(", ")
    }
}

/// A value as a person writes it: text without quotes.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The shortest ending of every path that no other path ends in.
pub(super) fn short_names(paths: &[String]) -> BTreeMap<String, String> {
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

    #[test]
    fn paths_are_told_apart_by_their_ends() {
        let paths = ["steps.a.optim.lr", "steps.b.optim.lr", "steps.a.keep"].map(str::to_owned);
        let names: Vec<String> = short_names(&paths).into_values().collect();
        assert_eq!(names, ["keep", "a.optim.lr", "b.optim.lr"]);
    }
}
