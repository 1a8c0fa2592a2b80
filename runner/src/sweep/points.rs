//! The points of a sweep.
//!
//! A point is what `grid` × `zip` × `list` × `random` × `seeds` set: every combination of the grid's values, with every
//! position of the zipped ones, every entry of the list and every draw. The order is that of this product, the seeds
//! running fastest; of equal points only the first counts. Draw *i* of a path depends on the sweep's own seed, the path
//! and *i* alone, so that more draws leave the earlier ones what they are.

use crate::spec::{RandomSearch, Setting, Sweep};
use crate::store::canonical;
use lyceum_components::random::Stream;
use serde_json::{Number, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Decimal places of a drawn number's mantissa: as much as a person reads.
const PLACES: usize = 4;

/// One point: what it sets, and its seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Values by path.
    pub settings: Vec<Setting>,
    /// The seed that replaces the experiment's, if the sweep lists seeds.
    pub seed: Option<Setting>,
}

impl Point {
    /// Values by path.
    pub fn values(&self) -> BTreeMap<String, Value> {
        let pairs = self.settings.iter();
        pairs
            .map(|setting| (setting.path.clone(), setting.value.clone()))
            .collect()
    }

    /// Everything it sets, the seed included.
    pub fn layer(&self) -> Vec<Setting> {
        self.settings.iter().chain(&self.seed).cloned().collect()
    }
}

/// The points of a sweep that was checked.
pub fn points(sweep: &Sweep) -> Vec<Point> {
    let mut all: Vec<Vec<Setting>> = vec![Vec::new()];
    for (path, values) in &sweep.grid {
        let at = |i: usize| format!("/grid/{}/{i}", escaped(path));
        let axis = (0..values.len()).map(|i| vec![setting(path, &values[i], at(i))]);
        all = product(&all, &axis.collect::<Vec<_>>());
    }
    if let Some(length) = sweep.zip.values().map(Vec::len).min() {
        let position = |i: usize| {
            let pairs = sweep.zip.iter();
            pairs
                .map(|(path, values)| setting(path, &values[i], format!("/zip/{}/{i}", escaped(path))))
                .collect()
        };
        all = product(&all, &(0..length).map(position).collect::<Vec<_>>());
    }
    if !sweep.list.is_empty() {
        let entry = |(i, entry): (usize, &BTreeMap<String, Value>)| {
            let pairs = entry.iter();
            pairs
                .map(|(path, value)| setting(path, value, format!("/list/{i}/{}", escaped(path))))
                .collect()
        };
        all = product(
            &all,
            &sweep.list.iter().enumerate().map(entry).collect::<Vec<_>>(),
        );
    }
    if let Some(random) = &sweep.random {
        all = product(&all, &draws(random));
    }
    for settings in &mut all {
        settings.sort_by(|a, b| a.path.cmp(&b.path));
    }
    let seeds: Vec<Option<Setting>> = match &sweep.seeds[..] {
        [] => vec![None],
        seeds => {
            let one = |(i, seed): (usize, &u64)| {
                Some(setting("experiment.seed", &json!(seed), format!("/seeds/{i}")))
            };
            seeds.iter().enumerate().map(one).collect()
        }
    };
    let mut seen = BTreeSet::new();
    let mut points = Vec::new();
    for settings in &all {
        for seed in &seeds {
            let point = Point {
                settings: settings.clone(),
                seed: seed.clone(),
            };
            let seed = seed.as_ref().map(|seed| &seed.value);
            if seen.insert(canonical(&json!([point.values(), seed]))) {
                points.push(point);
            }
        }
    }
    points
}

fn setting(path: &str, value: &Value, place: String) -> Setting {
    Setting {
        path: path.to_owned(),
        value: value.clone(),
        place,
    }
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn product(all: &[Vec<Setting>], axis: &[Vec<Setting>]) -> Vec<Vec<Setting>> {
    let with = |one: &Vec<Setting>| {
        axis.iter()
            .map(|more| [&one[..], more].concat())
            .collect::<Vec<_>>()
    };
    all.iter().flat_map(with).collect()
}

fn draws(random: &RandomSearch) -> Vec<Vec<Setting>> {
    let one = |i: u64| {
        let ranges = random.ranges.iter();
        ranges
            .map(|(path, bounds)| {
                let value = draw(random, path, bounds, i);
                setting(path, &value, format!("/random/ranges/{}", escaped(path)))
            })
            .collect()
    };
    (0..random.points).map(one).collect()
}

/// Draw `i` of a path: uniform between the bounds, or with a uniform logarithm.
fn draw(random: &RandomSearch, path: &str, bounds: &[Number; 2], i: u64) -> Value {
    let part = Stream::new(random.seed, &format!("sweep/{path}")).at(i).uniform();
    let log = random.log.iter().any(|name| name == path);
    let between = |low: f64, high: f64| {
        if log {
            low * (high / low).powf(part)
        } else {
            low + (high - low) * part
        }
    };
    if let (Some(low), Some(high)) = (bounds[0].as_i64(), bounds[1].as_i64()) {
        let drawn = between(low as f64, high as f64 + 1.0).floor() as i64;
        return json!(drawn.clamp(low, high));
    }
    let [low, high] = [0, 1].map(|end| bounds[end].as_f64().unwrap_or_default());
    let drawn = between(low, high);
    let rounded = format!("{drawn:.PLACES$e}").parse().unwrap_or(drawn);
    json!(rounded.clamp(low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(value: Value) -> Vec<Point> {
        let sweep: Sweep = serde_json::from_value(value).unwrap();
        let points = points(&sweep);
        assert!(points.len() as u64 <= sweep.count().unwrap());
        points
    }

    fn shown(points: &[Point]) -> Vec<String> {
        let one = |point: &Point| {
            let values: Vec<String> = point.values().values().map(Value::to_string).collect();
            let seed = point
                .seed
                .as_ref()
                .map_or(String::new(), |seed| format!("#{}", seed.value));
            values.join(" ") + &seed
        };
        points.iter().map(one).collect()
    }

    #[test]
    fn a_sweep_of_nothing_is_the_experiment_itself() {
        assert_eq!(shown(&sweep(json!({}))), [""]);
    }

    #[test]
    fn the_grid_is_a_product_and_seeds_run_fastest() {
        let points = sweep(json!({ "seeds": [7, 8], "grid": { "a.b.c": [1, 2], "a.b.d": ["x", "y"] } }));
        let expected = ["1 \"x\"#7", "1 \"x\"#8", "1 \"y\"#7", "1 \"y\"#8"];
        assert_eq!(shown(&points)[..4], expected);
        assert_eq!(points.len(), 8);
        assert_eq!(points[7].settings[1].place, "/grid/a.b.d/1");
    }

    #[test]
    fn zipped_values_go_together_and_list_entries_stand_alone() {
        let points = sweep(json!({
            "grid": { "g": [1, 2] }, "zip": { "x": [10, 20], "y": [11, 21] },
            "list": [{ "l": 5 }, { "l": 6, "m": 7 }],
        }));
        let expected = [
            "1 5 10 11",
            "1 6 7 10 11",
            "1 5 20 21",
            "1 6 7 20 21",
            "2 5 10 11",
        ];
        assert_eq!(shown(&points)[..5], expected);
        assert_eq!(points.len(), 8);
    }

    #[test]
    fn equal_points_count_once() {
        let points = sweep(json!({ "seeds": [1, 1], "grid": { "a": [1, 1, 2] } }));
        assert_eq!(shown(&points), ["1#1", "2#1"]);
    }

    #[test]
    fn more_draws_and_other_paths_leave_the_earlier_draws_alone() {
        let ranges = json!({ "lr": [1e-4, 1e-2], "n": [3, 5] });
        let few = sweep(json!({ "random": { "points": 4, "ranges": ranges, "log": ["lr"] } }));
        let many = sweep(json!({ "random": { "points": 40, "ranges": ranges, "log": ["lr"] } }));
        assert_eq!(shown(&few), shown(&many[..4]));
        let mut more = ranges.clone();
        more["z"] = json!([0.0, 1.0]);
        let other = sweep(json!({ "random": { "points": 4, "ranges": more, "log": ["lr"] } }));
        assert!(
            other
                .iter()
                .zip(&few)
                .all(|(a, b)| a.settings[..2] == b.settings[..])
        );
        let seeded = sweep(json!({ "random": { "points": 4, "seed": 1, "ranges": ranges } }));
        assert_ne!(shown(&seeded), shown(&few));
    }

    #[test]
    fn draws_keep_to_their_bounds_and_scale() {
        let ranges = json!({ "lr": [1e-4, 1e-2], "n": [3, 5] });
        let points = sweep(json!({ "random": { "points": 400, "ranges": ranges, "log": ["lr"] } }));
        let of = |path: &str| {
            let values = points.iter().map(|point| point.values()[path].clone());
            values.collect::<Vec<_>>()
        };
        let rates: Vec<f64> = of("lr").iter().map(|value| value.as_f64().unwrap()).collect();
        assert!(rates.iter().all(|rate| (1e-4..=1e-2).contains(rate)));
        let low = rates.iter().filter(|rate| **rate < 1e-3).count();
        assert!(
            (150..250).contains(&low),
            "half lie below the geometric mean: {low}"
        );
        for n in 3..=5 {
            let count = of("n").iter().filter(|value| **value == json!(n)).count();
            assert!((90..180).contains(&count), "{n}: {count}");
        }
    }
}
