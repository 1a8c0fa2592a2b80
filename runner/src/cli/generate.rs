//! `lyceum generate`.

use super::advice::show_error;
use super::{Format, print, say};
use crate::Exit;
use crate::device::choose;
use clap::ValueEnum;
use lyceum_components::inference::{Chat, Generated, Generator, LanguageModel, Message, Prompt, Sampling};
use lyceum_components::random::Stream;
use lyceum_components::{Precision, Result};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Instant;

/// Goes on with a text by a model: a folder in Hugging Face's layout, or a model of a run.
///
/// Without `--temperature` the most likely token is taken at each place.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The model's folder.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The text to go on with.
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// Puts the prompt as a user's message into the model's chat template.
    #[arg(long)]
    chat: bool,
    /// The most new tokens; where left out 128, or fewer where the model's context ends before.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    max_tokens: Option<u32>,
    /// Divides the logits; 0 draws nothing.
    #[arg(long, value_name = "T", default_value_t = 0.0, value_parser = not_negative)]
    temperature: f64,
    /// Draws among this many most likely tokens.
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Draws among the most likely tokens that hold this probability together.
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = share)]
    top_p: f64,
    /// Ends the text before this one; may be given several times.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    stop: Vec<String>,
    /// Texts to write.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65536))]
    samples: u32,
    /// Seed of what is drawn.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// What is computed in.
    #[arg(long, value_enum, default_value_t)]
    precision: Wanted,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "auto")]
    device: String,
    /// How the texts are written: as they are, or as one object (a list of them for several samples).
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What is computed in.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Wanted {
    /// 32-bit.
    #[default]
    F32,
    /// bfloat16 for matrix products.
    Bf16,
    /// 64-bit.
    F64,
}

fn not_negative(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let fits = value >= 0.0 && value.is_finite();
    fits.then_some(value)
        .ok_or_else(|| "expected 0 or more".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let value = not_negative(text)?;
    (value <= 1.0)
        .then_some(value)
        .ok_or_else(|| "expected 0 to 1".to_owned())
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let device = match choose(&arguments.device) {
        Ok(chosen) => chosen.device,
        Err(error) => {
            say(&format!("error: {error}\n  hint: {}", error.hint));
            return Exit::Wrong;
        }
    };
    if !arguments.model.join("config.json").is_file() {
        let folder = arguments.model.display();
        say(&format!(
            "error: `{folder}` is no model: there is no config.json in it\n  hint: name a folder in Hugging Face's \
             layout, as `lyceum export STEP --to DIR` and `save_pretrained` leave it"
        ));
        return Exit::Wrong;
    }
    let precision = match arguments.precision {
        Wanted::F32 => Precision::F32,
        Wanted::Bf16 => Precision::Bf16,
        Wanted::F64 => Precision::F64,
    };
    let model = match LanguageModel::open_folder(&arguments.model, &device, precision) {
        Ok(model) => model.for_writing(),
        Err(error) => {
            show_error("", &error);
            return Exit::Failed;
        }
    };
    let started = Instant::now();
    match write(arguments, &model) {
        Ok(texts) => show(arguments.format, &texts, started.elapsed().as_secs_f64()),
        Err(error) => {
            show_error("", &error);
            Exit::Failed
        }
    }
}

fn write(arguments: &Arguments, model: &LanguageModel) -> Result<Vec<Generated>> {
    let ids = if arguments.chat {
        let text = Chat::of(model)?.render(&[Message::user(&*arguments.prompt)])?;
        model.encode_marked(&text)?
    } else {
        model.encode(&arguments.prompt, true)?
    };
    let room = model.context().saturating_sub(ids.len()).clamp(1, 128);
    let sampling = Sampling {
        max_tokens: arguments.max_tokens.map_or(room, |tokens| tokens as usize),
        temperature: arguments.temperature,
        top_k: arguments.top_k,
        top_p: arguments.top_p,
        stop: arguments.stop.clone(),
        ..Sampling::default()
    };
    let stream = Stream::new(arguments.seed, "generate");
    let generator = Generator::new(model, model.device());
    generator.generate(
        &[Prompt { row: 0, ids }],
        &sampling,
        arguments.samples,
        &stream,
        &mut |_| Ok(()),
    )
}

fn show(format: Format, texts: &[Generated], seconds: f64) -> Exit {
    match format {
        Format::Text => {
            let texts: Vec<&str> = texts.iter().map(|text| text.text.as_str()).collect();
            print(&format!("{}\n", texts.join("\n\n---\n\n")))
        }
        Format::Json => {
            let tokens: usize = texts.iter().map(|text| text.ids.len()).sum();
            let rate = tokens as f64 / seconds;
            let object = |text: &Generated| {
                json!({
                    "text": text.text,
                    "tokens": text.ids,
                    "finish": text.finish,
                    "tokens_per_second": rate,
                })
            };
            let shown = match texts {
                [one] => object(one),
                several => Value::Array(several.iter().map(object).collect()),
            };
            print(&format!("{shown:#}\n"))
        }
    }
}
