//! Going on with texts.

mod prompts;

use super::stops::Stops;
use super::{Chat, Distribution, Finish, Generated, Generator, LanguageModel, Message, Prompt, Sampling};
use crate::model::Init;
use crate::random::Stream;
use crate::testing::Bench;
use crate::tokenizer::train_tests::trained;
use crate::{Context, Precision, Result};
use burn::tensor::{Int, Tensor, TensorData};
use serde_json::json;
use std::fs;

/// A tokenizer called `bpe`, and two models with it called `model` and `other`, of a context of 64.
pub(crate) fn bench() -> Bench {
    let bench = Bench::new();
    trained(&bench, "bpe", &json!({ "vocab_size": 300 })).expect("trains");
    for (seed, step) in [(1, "model"), (2, "other")] {
        let context = Context {
            seed,
            ..bench.context(step)
        };
        let model = json!({
            "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64,
            "initializer_range": 0.4,
        });
        bench
            .run_with::<Init>(&context, json!({ "tokenizer": "@bpe", "model": model }))
            .expect("makes a model");
        bench.publish(step);
    }
    bench
}

fn open(bench: &Bench, step: &str) -> LanguageModel {
    let context = bench.context(step);
    LanguageModel::open(&bench.publish(step), &context.device, Precision::F32)
        .expect("opens")
        .for_writing()
}

fn prompts(model: &LanguageModel) -> Vec<Prompt> {
    let texts = [
        "The cat sat",
        " on",
        "mat. Didn't the dog",
        "too? Tabs and spaces",
        "x",
        "the the the the the",
        "ü",
        "Th",
        "sit,",
    ];
    let ids = |text: &str| model.encode(text, true).expect("encodes");
    let prompt = |(row, text): (usize, &&str)| Prompt {
        row: row as u64 * 3,
        ids: ids(text),
    };
    texts.iter().enumerate().map(prompt).collect()
}

fn drawn() -> Sampling {
    Sampling {
        max_tokens: 12,
        temperature: 1.0,
        ..Sampling::default()
    }
}

fn write(
    generator: &Generator,
    prompts: &[Prompt],
    sampling: &Sampling,
    samples: u32,
) -> Result<Vec<Generated>> {
    generator.generate(prompts, sampling, samples, &Stream::new(5, "texts"), &mut |_| {
        Ok(())
    })
}

#[test]
fn results_depend_neither_on_the_batch_nor_on_the_order() {
    let bench = bench();
    let (model, other) = (open(&bench, "model"), open(&bench, "other"));
    let prompts = prompts(&model);
    // The end of a text is likely enough that slots are freed at different times.
    let sampling = Sampling {
        repetition_penalty: 1.2,
        stop: vec!["e".to_owned()],
        ..drawn()
    };
    for samples in [1, 4] {
        let alone = Generator::new(&model, model.device()).batch_size(1);
        let alone = write(&alone, &prompts, &sampling, samples).expect("texts");
        let lengths: Vec<usize> = alone.iter().map(|text| text.ids.len()).collect();
        assert!(
            lengths.iter().any(|&n| n < 12) && lengths.contains(&12),
            "{lengths:?}"
        );
        assert_eq!(alone.len(), 9 * samples as usize);
        for batch_size in [2, 7, 16, 64] {
            let generator = Generator::new(&model, model.device()).batch_size(batch_size);
            // Where there are several threads, many texts share out among desks.
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                let texts = pool
                    .expect("threads")
                    .install(|| write(&generator, &prompts, &sampling, samples));
                assert_eq!(texts.expect("texts"), alone, "{batch_size} on {threads}");
            }
            let mut shuffled = prompts.clone();
            Stream::new(batch_size as u64, "order").shuffle(&mut shuffled);
            let mut texts = write(&generator, &shuffled[2..], &sampling, samples).expect("texts");
            texts.sort_by_key(|text| (text.row, text.sample));
            let kept = |text: &Generated| shuffled[2..].iter().any(|prompt| prompt.row == text.row);
            let expected: Vec<Generated> = alone.iter().filter(|text| kept(text)).cloned().collect();
            assert_eq!(texts, expected);
        }
    }
    let mixed = |batch_size| {
        let generator = Generator::new(&model, model.device()).batch_size(batch_size);
        write(&generator.mixed_with(&other, 0.3), &prompts, &sampling, 2).expect("texts")
    };
    assert_eq!(mixed(1), mixed(5));
}

#[test]
fn the_most_likely_tokens_are_those_of_whole_passes() {
    let bench = bench();
    let model = open(&bench, "model");
    let prompts = prompts(&model);
    let sampling = Sampling {
        max_tokens: 20,
        min_tokens: 20,
        ..Sampling::default()
    };
    let texts = write(&Generator::new(&model, model.device()), &prompts, &sampling, 1).expect("texts");
    for (text, prompt) in texts.iter().zip(&prompts) {
        let mut ids = prompt.ids.clone();
        for (&id, &logprob) in text.ids.iter().zip(&text.logprobs) {
            let t = ids.len();
            let inputs: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
            let inputs_bt = Tensor::<2, Int>::from_data(TensorData::new(inputs, [1, t]), model.device());
            let decoder = &model.loaded.decoder;
            let last_nd = decoder.hidden(inputs_bt).narrow(1, t - 1, 1).reshape([1, 16]);
            let mut logits: Vec<f32> = decoder.logits(last_nd).into_data().try_into_vec().expect("f32");
            let all =
                Distribution::new(&mut logits, &sampling, &ids, 0, model.ends()).expect("probabilities");
            assert_eq!(all.heaviest(), id);
            assert!((all.probability(id).ln() - f64::from(logprob)).abs() < 1e-5);
            ids.push(id);
        }
        assert_eq!((text.ids.len(), text.finish), (20, Finish::Length));
        assert_eq!(text.text, model.decode(&text.ids).expect("decodes"));
    }
}

#[test]
fn texts_end_at_end_tokens_and_not_before_they_may() {
    let bench = bench();
    let model = open(&bench, "model");
    let prompts = &prompts(&model)[..1];
    let sampling = Sampling {
        max_tokens: 10,
        ..Sampling::default()
    };
    let free = write(&Generator::new(&model, model.device()), prompts, &sampling, 1).expect("texts");
    let end = free[0].ids[4];
    let first = free[0]
        .ids
        .iter()
        .position(|&id| id == end)
        .expect("it was drawn");
    let folder = bench.at("model");
    let config = json!({ "eos_token_id": [end, 299] });
    fs::write(folder.join("generation_config.json"), config.to_string()).expect("writes");
    let model = open(&bench, "model");
    let generator = Generator::new(&model, model.device());
    let ended = &write(&generator, prompts, &sampling, 1).expect("texts")[0];
    assert_eq!(
        (ended.finish, &ended.ids[..]),
        (Finish::End, &free[0].ids[..=first])
    );
    assert_eq!(ended.text, model.decode(&ended.ids[..first]).expect("decodes"));
    let late = Sampling {
        min_tokens: 7,
        ..sampling
    };
    let ended = &write(&generator, prompts, &late, 1).expect("texts")[0];
    assert!(ended.ids.len() > 7 && !ended.ids[..7].contains(&end), "{ended:?}");
}

#[test]
fn stop_strings_are_found_across_tokens_and_cut() {
    let bench = bench();
    let model = open(&bench, "model");
    let text = "The cat sat on the mat. ".repeat(12) + "Tabs 漢字 didn't";
    let ids = model.encode(&text, false).expect("encodes");
    let cut = |stop: &[&str]| {
        let stop: Vec<String> = stop.iter().map(|&stop| stop.to_owned()).collect();
        let mut stops = Stops::default();
        (1..=ids.len()).find_map(|n| Some((n, stops.cut(&model, &ids[..n], &stop).expect("decodes")?)))
    };
    for stop in [
        "at on th",
        "T",
        "mat. The cat sat on",
        ". Tabs",
        "漢字",
        "s 漢",
        "t. Tabs 漢字 didn't",
    ] {
        let (n, before) = cut(&[stop]).expect("it is there");
        assert_eq!(before, text[..text.find(stop).expect("it is there")], "{stop}");
        let held = |n| model.decode(&ids[..n]).expect("decodes").contains(stop);
        assert!(
            held(n) && !held(n - 1),
            "{stop} is found with the token that completes it"
        );
    }
    assert_eq!(cut(&["none", "sat on", "cat sat"]).expect("there").1, "The ");
    assert_eq!(cut(&["none", "Cat"]), None);

    let prompts = &prompts(&model)[..3];
    let generator = Generator::new(&model, model.device());
    let free = write(&generator, prompts, &drawn(), 4).expect("texts");
    let stopped = Sampling {
        stop: vec!["a".to_owned(), " t".to_owned()],
        ..drawn()
    };
    let texts = write(&generator, prompts, &stopped, 4).expect("texts");
    assert!(texts.iter().any(|text| text.finish == Finish::Stop));
    for (text, free) in texts.iter().zip(&free) {
        assert!(free.ids.starts_with(&text.ids));
        let found = stopped
            .stop
            .iter()
            .filter_map(|stop| free.text.find(stop.as_str()))
            .min();
        assert_eq!(text.finish == Finish::Stop, found.is_some());
        assert_eq!(text.text, free.text[..found.unwrap_or(free.text.len())]);
    }
}

/// How often each token came first in many texts, against how often it was to be expected: χ² of the tokens that are to
/// come at least ten times, with its degrees of freedom.
fn surprise(
    model: &LanguageModel,
    generator: &Generator,
    sampling: &Sampling,
    p: impl Fn(u32) -> f64,
) -> (f64, f64) {
    const TEXTS: u32 = 4000;
    let prompt = &prompts(model)[..1];
    let texts = write(generator, prompt, sampling, TEXTS).expect("texts");
    let mut counts = vec![0.0; 300];
    for text in &texts {
        counts[text.ids[0] as usize] += 1.0;
    }
    let expected: Vec<f64> = (0..300).map(|id| p(id) * f64::from(TEXTS)).collect();
    let mut sum = 0.0;
    let mut cells = 0.0;
    let (mut rest, mut rest_expected) = (0.0, 0.0);
    for (count, expected) in counts.iter().zip(&expected) {
        if *expected >= 10.0 {
            sum += (count - expected).powi(2) / expected;
            cells += 1.0;
        } else {
            rest += count;
            rest_expected += expected;
        }
    }
    assert!(cells > 10.0 && rest_expected > 10.0, "{cells} {rest_expected}");
    (sum + (rest - rest_expected).powi(2) / rest_expected, cells)
}

/// The probability of the first token, computed on its own.
fn first_token(model: &LanguageModel, sampling: &Sampling) -> Distribution {
    let prompt = &prompts(model)[0];
    let mut cache = model.loaded.decoder.cache(1, 32);
    let ids: Vec<i64> = prompt.ids.iter().map(|&id| i64::from(id)).collect();
    let t = ids.len();
    let inputs_bt = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, t]), model.device());
    let hidden_btd = model.loaded.decoder.extend(inputs_bt, &[0], &mut cache);
    let logits_nv = model
        .loaded
        .decoder
        .logits(hidden_btd.narrow(1, t - 1, 1).reshape([1, 16]));
    let mut logits: Vec<f32> = logits_nv.into_data().try_into_vec().expect("f32");
    Distribution::new(&mut logits, sampling, &prompt.ids, 0, model.ends()).expect("probabilities")
}

#[test]
fn drawn_tokens_come_as_often_as_they_are_likely() {
    let bench = bench();
    let (model, other) = (open(&bench, "model"), open(&bench, "other"));
    let once = |temperature| Sampling {
        max_tokens: 1,
        temperature,
        ..Sampling::default()
    };
    let [flat, steep] = [1.6, 0.7].map(|temperature| first_token(&model, &once(temperature)));
    let generator = Generator::new(&model, model.device());
    // 5 standard deviations above the mean of χ²; its variance is twice its degrees of freedom.
    let fits = |(sum, freedom): (f64, f64)| sum < freedom + 5.0 * (2.0 * freedom).sqrt();
    assert!(fits(
        surprise(&model, &generator, &once(1.6), |id| flat.probability(id))
    ));
    assert!(!fits(
        surprise(&model, &generator, &once(1.6), |id| steep.probability(id))
    ));
    let [one, two] = [&model, &other].map(|model| first_token(model, &once(1.2)));
    let p = |id, share: f64| (1.0 - share) * one.probability(id) + share * two.probability(id);
    let mixed = Generator::new(&model, model.device()).mixed_with(&other, 0.3);
    assert!(fits(surprise(&model, &mixed, &once(1.2), |id| p(id, 0.3))));
    assert!(!fits(surprise(&model, &mixed, &once(1.2), |id| p(id, 0.5))));
}

#[test]
fn a_mixture_of_share_0_or_1_is_one_of_its_models() {
    let bench = bench();
    let (model, other) = (open(&bench, "model"), open(&bench, "other"));
    let prompts = prompts(&model);
    let sampling = Sampling {
        top_p: 0.95,
        ..drawn()
    };
    let [ours, theirs] = [&model, &other]
        .map(|model| write(&Generator::new(model, model.device()), &prompts, &sampling, 2).expect("texts"));
    for (share, expected) in [(0.0, ours), (1.0, theirs)] {
        let mixed = Generator::new(&model, model.device()).mixed_with(&other, share);
        let mixed = write(&mixed, &prompts, &sampling, 2).expect("texts");
        for (mixed, expected) in mixed.iter().zip(&expected) {
            assert_eq!((&mixed.ids, mixed.finish), (&expected.ids, expected.finish));
            let alone = mixed.alone.as_ref().expect("kept of mixtures");
            let same = if share == 0.0 { &alone.model } else { &alone.other };
            for ((a, b), c) in mixed.logprobs.iter().zip(&expected.logprobs).zip(same) {
                assert!((a - b).abs() < 1e-5 && (a - c).abs() < 1e-5);
            }
        }
    }
}
