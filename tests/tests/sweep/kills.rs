//! Eight processes on one sweep, killed at random moments together with their children.

use super::{lab, points, results};
use lyceum_tests::{Ended, Lab};
use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

const PARENTS: usize = 8;
const KILLS: usize = 40;
const POINTS: usize = 64;

/// Process numbers of this program's runs of points inside the lab.
fn children(lab: &Lab) -> Vec<u32> {
    let inside = lab.path(".lyceum/sweeps").to_string_lossy().into_owned();
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    numbers
        .filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok())
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&inside)
        })
        .collect()
}

fn kill(pid: u32) -> bool {
    let sent = std::process::Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .output();
    sent.is_ok_and(|sent| sent.status.success())
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

#[test]
fn whatever_is_killed_every_point_is_published_once_and_none_is_lost() {
    let seeds: Vec<String> = (0..POINTS / 4).map(|seed| seed.to_string()).collect();
    let declared = format!(
        "seeds = [{}]\ngrid = {{ \"steps.tokens.context\" = [16, 32], \"steps.found.keep\" = [0.2, 0.4] }}",
        seeds.join(", ")
    );
    let lab = lab(&declared);
    let start = || lab.start(&["sweep", "tiny.toml"]);
    let mut parents: Vec<Child> = (0..PARENTS).map(|_| start()).collect();
    let mut chance = Chance(7);
    let (mut parents_killed, mut children_killed) = (0, 0);
    let begun = Instant::now();
    while parents_killed + children_killed < KILLS && lab.artifacts("evaluate.selection").len() < POINTS {
        assert!(begun.elapsed() < Duration::from_mins(2), "too slow");
        std::thread::sleep(Duration::from_millis(20 + chance.below(60) as u64));
        if chance.below(2) == 0 {
            let victim = chance.below(PARENTS);
            let _ = parents[victim].kill();
            parents_killed += usize::from(
                Ended::of(std::mem::replace(&mut parents[victim], start()))
                    .code
                    .is_none(),
            );
        } else {
            let alive = children(&lab);
            if !alive.is_empty() {
                children_killed += usize::from(kill(alive[chance.below(alive.len())]));
            }
        }
    }
    assert!(
        parents_killed >= 5 && children_killed >= 5,
        "{parents_killed}, {children_killed}"
    );
    for parent in parents {
        let ended = Ended::of(parent);
        assert!(matches!(ended.code, Some(0 | 3)), "{}", ended.stderr);
    }
    while !children(&lab).is_empty() {
        std::thread::sleep(Duration::from_millis(20)); // those whose parent was killed
    }

    let ended = lab.lyceum(&["sweep", "tiny.toml", "--format", "json"]).exits(0);
    let all = points(&ended);
    assert_eq!(all.len(), POINTS);
    assert!(all.iter().all(|point| point["status"] == "done"), "{all:?}");
    assert_eq!(lab.artifacts("evaluate.selection").len(), POINTS);
    assert_eq!(lab.artifacts("score.random").len(), POINTS);

    let quiet = super::lab(&declared);
    quiet.lyceum(&["sweep", "tiny.toml", "--jobs", "2"]).exits(0);
    assert_eq!(lab.hashes(), quiet.hashes());
    assert_eq!(results(&lab), results(&quiet));
}
