//! Checkpoints of every family, as transformers saves them: what it makes of them, and what becomes of them here.

mod damaged;
mod export;
mod fixture;
mod refused;

use fixture::{Fixture, all, assert_within, host, ids};
use lyceum_components::Precision;
use lyceum_components::model::Decoder;

/// Each precision with how far it may be from the float64 reference.
const PRECISIONS: [(Precision, f64); 2] = [(Precision::F64, 1e-9), (Precision::F32, 2e-4)];

/// Logits `[n, v]` of the hidden states `[1, t, d]` of a row.
fn logits(decoder: &Decoder, hidden_btd: burn::tensor::Tensor<3>) -> Vec<f64> {
    let [b, t, d] = hidden_btd.dims();
    host(decoder.logits(hidden_btd.reshape([b * t, d])))
}

/// The number of the largest.
fn best(logits: &[f64]) -> u32 {
    let places = 0..logits.len();
    places
        .max_by(|&i, &j| logits[i].total_cmp(&logits[j]))
        .expect("logits") as u32
}

#[test]
fn logits_and_embeddings_are_those_of_transformers() {
    for fixture in all() {
        let width = fixture.last.len() / fixture.rows.len();
        let check = |precision, tolerance: f64| {
            let model = fixture.load(precision);
            let what = format!("{}, {precision:?}", fixture.name);
            let decoder = &model.loaded.decoder;
            let (mut found, mut mean, mut last) = (Vec::new(), Vec::new(), Vec::new());
            for row in &fixture.rows {
                let hidden_btd = decoder.hidden(ids(std::slice::from_ref(row)));
                let states = host(hidden_btd.clone());
                assert_eq!(states.len(), row.len() * width);
                mean.extend(
                    (0..width).map(|i| states.iter().skip(i).step_by(width).sum::<f64>() / row.len() as f64),
                );
                last.extend_from_slice(&states[states.len() - width..]);
                found.extend(logits(decoder, hidden_btd));
            }
            assert_within(&format!("{what}: logits"), &found, &fixture.logits, tolerance);
            assert_within(&format!("{what}: mean"), &mean, &fixture.mean, tolerance);
            assert_within(&format!("{what}: last"), &last, &fixture.last, tolerance);
        };
        for (precision, tolerance) in PRECISIONS {
            check(precision, tolerance);
        }
        // The stored weights are exact in bf16, and sums are taken in f32.
        check(Precision::Bf16, 2e-4);
    }
}

#[test]
fn greedy_continuations_through_the_cache_are_those_of_generate() {
    for fixture in all() {
        let decoder = fixture.load(Precision::F32).loaded.decoder;
        assert_eq!(continued(&decoder, &fixture), fixture.greedy, "{}", fixture.name);
        let decoder = decoder.in_panels();
        assert_eq!(
            continued(&decoder, &fixture),
            fixture.greedy,
            "{}, in panels",
            fixture.name
        );
    }
}

/// Every row with the most likely tokens after it.
fn continued(decoder: &Decoder, fixture: &Fixture) -> Vec<Vec<u32>> {
    let rows: Vec<usize> = (0..fixture.rows.len()).collect();
    let steps = fixture.greedy[0].len();
    assert_eq!(steps, 64);
    let mut cache = decoder.cache(rows.len(), fixture.longest() + steps);
    let mut continued: Vec<Vec<u32>> = Vec::new();
    for (row, prompt) in fixture.rows.iter().enumerate() {
        // The prompt in two parts: the second reads what the first left.
        let (head, tail) = prompt.split_at(prompt.len() / 2);
        decoder.extend(ids(&[head.to_vec()]), &[row], &mut cache);
        let hidden_btd = decoder.extend(ids(&[tail.to_vec()]), &[row], &mut cache);
        assert_eq!(cache.len(row), prompt.len());
        let found = logits(decoder, hidden_btd);
        let vocabulary = found.len() / tail.len();
        continued.push(vec![best(&found[found.len() - vocabulary..])]);
    }
    for _ in 1..steps {
        let latest: Vec<Vec<u32>> = continued
            .iter()
            .map(|ids| ids[ids.len() - 1..].to_vec())
            .collect();
        let found = logits(decoder, decoder.extend(ids(&latest), &rows, &mut cache));
        let vocabulary = found.len() / rows.len();
        for (ids, found) in continued.iter_mut().zip(found.chunks(vocabulary)) {
            ids.push(best(found));
        }
    }
    continued
}

/// A batch of all rows, each as long as the longest, filled up on one side with the last token of the vocabulary.
fn padded(fixture: &Fixture, left: bool) -> Vec<Vec<u32>> {
    let fill = |row: &Vec<u32>| {
        let padding = vec![299; fixture.longest() - row.len()];
        if left {
            [padding, row.clone()].concat()
        } else {
            [row.clone(), padding].concat()
        }
    };
    fixture.rows.iter().map(fill).collect()
}

#[test]
fn padding_on_either_side_changes_nothing() {
    for fixture in all() {
        for (precision, tolerance) in PRECISIONS {
            let decoder = fixture.load(precision).loaded.decoder;
            let longest = fixture.longest();
            for left in [true, false] {
                let batch = ids(&padded(&fixture, left));
                let first: Vec<usize> = if left {
                    fixture.rows.iter().map(|row| longest - row.len()).collect()
                } else {
                    vec![0; fixture.rows.len()]
                };
                let hidden_btd = if left {
                    decoder.hidden_padded(batch, &first)
                } else {
                    decoder.hidden(batch)
                };
                let all = logits(&decoder, hidden_btd);
                let vocabulary = all.len() / (longest * fixture.rows.len());
                let mut found = Vec::new();
                for (b, row) in fixture.rows.iter().enumerate() {
                    let from = (b * longest + first[b]) * vocabulary;
                    found.extend_from_slice(&all[from..from + row.len() * vocabulary]);
                }
                let what = format!("{}, {precision:?}, left {left}", fixture.name);
                assert_within(&what, &found, &fixture.logits, tolerance);
            }
        }
    }
}

#[test]
fn texts_become_the_ids_that_transformers_makes_of_them() {
    for fixture in all() {
        let model = fixture.load(Precision::F32);
        for (text, row) in fixture.texts.iter().zip(&fixture.rows) {
            assert_eq!(
                &model.encode(text, false).expect("a text"),
                row,
                "{}",
                fixture.name
            );
            assert_eq!(&model.decode(row).expect("ids"), text, "{}", fixture.name);
        }
        assert!(model.ends().contains(&299), "{}", fixture.name);
    }
}
