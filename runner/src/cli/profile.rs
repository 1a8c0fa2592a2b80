//! Where the time of a training step goes.

use lyceum_components::model::ModelSpec;
use lyceum_components::train::Rehearsal;
use lyceum_components::{Device, Precision, profile as profiled};
use serde_json::{Value, json};
use std::time::Instant;

/// Steps that are looked at, after one to warm up.
const STEPS: u32 = 4;

/// Times of the operations of a step in training the reference decoder, the slowest first, in milliseconds. Bands of rows go
/// beside each other, so times overlap: what tells is an operation's share of all.
pub(super) fn profile(device: &Device) -> Value {
    let spec = json!({ "hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4 });
    let Ok(spec) = serde_json::from_value::<ModelSpec>(spec) else {
        return Value::Null;
    };
    let mut rehearsal = Rehearsal::new(&spec, 8192, [8, 256], Precision::F32, device);
    rehearsal.train();
    let start = Instant::now();
    let ((), spent) = profiled(|| {
        for _ in 0..STEPS {
            rehearsal.train();
        }
    });
    let step = start.elapsed().as_secs_f64() * 1e3 / f64::from(STEPS);
    let mut operations: Vec<(String, f64, f64)> = spent
        .into_iter()
        .map(|(name, spent)| {
            let milliseconds = spent.time.as_secs_f64() * 1e3 / f64::from(STEPS);
            (
                name.to_owned(),
                spent.calls as f64 / f64::from(STEPS),
                milliseconds,
            )
        })
        .collect();
    operations.sort_by(|a, b| b.2.total_cmp(&a.2));
    let all = operations.iter().map(|operation| operation.2).sum::<f64>();
    json!({
        "step_milliseconds": step,
        "tokens_per_second": rehearsal.tokens() / step * 1e3,
        "operations": operations
            .into_iter()
            .map(|(name, calls, time)| {
                json!({ "name": name, "calls": calls, "milliseconds": time, "share": time / all })
            })
            .collect::<Vec<_>>(),
    })
}

/// The same for people; empty without a profile.
pub(super) fn text(profile: &Value) -> String {
    let Some(operations) = profile["operations"].as_array() else {
        return String::new();
    };
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let step = number(&profile["step_milliseconds"]);
    let rate = number(&profile["tokens_per_second"]);
    let mut out = format!(
        "\nA training step takes {step:.1} ms ({rate:.0} tokens/s); its operations, some beside each other:\n"
    );
    for operation in operations {
        let name = operation["name"].as_str().unwrap_or_default();
        let [calls, time, share] = ["calls", "milliseconds", "share"].map(|key| number(&operation[key]));
        out += &format!("{name:<28}{calls:>6.0}{time:>10.1} ms{:>7.1} %\n", 100.0 * share);
    }
    out
}
