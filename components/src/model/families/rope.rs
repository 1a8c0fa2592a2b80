//! Rotary settings in their old spelling (`rope_theta`, `rope_scaling`) and their new one (`rope_parameters`).

use super::Json;
use crate::model::rotary::Rotary;
use crate::{Error, Result};
use lyceum_kernels::Pairing;
use std::f64::consts::PI;

/// Wider heads than any that exist.
const MOST_DIMS: usize = 65_536;

/// The rotation of the first `dims` elements of a head.
///
/// # Errors
/// `bad_config`, `unsupported_config`: a kind of scaling that is not among `default`, `linear`, `dynamic`, `llama3`, `yarn`.
pub(crate) fn rotary(json: &Json, dims: usize, theta: f64, pairing: Pairing) -> Result<Rotary> {
    let scaling = match json.find_table("rope_parameters")? {
        Some(table) => Some(table),
        None => json.find_table("rope_scaling")?,
    };
    let mut base = json.number_or("rope_theta", theta)?;
    let Some(scaling) = scaling else {
        return plain(dims, base, pairing);
    };
    base = scaling.number_or("rope_theta", base)?;
    let mut rotary = plain(dims, base, pairing)?;
    let kind = match scaling.find_text("rope_type")? {
        Some(kind) => Some(kind),
        None => scaling.find_text("type")?,
    };
    let factor = || positive(&scaling, "factor", None);
    match kind.unwrap_or("default") {
        // The dynamic kind changes angles only beyond the longest sequence, where this decoder does not go.
        "default" | "dynamic" => {}
        "linear" => {
            let factor = factor()?;
            rotary.frequencies.iter_mut().for_each(|f| *f /= factor);
        }
        "llama3" => llama3(&mut rotary, &scaling, factor()?)?,
        "yarn" => yarn(&mut rotary, json, &scaling, factor()?, dims, base)?,
        _ => {
            let key = if scaling.get("rope_type").is_some() {
                "rope_type"
            } else {
                "type"
            };
            return Err(scaling.unsupported(key, "default, linear, dynamic, llama3, yarn"));
        }
    }
    Ok(rotary)
}

pub(super) fn plain(dims: usize, theta: f64, pairing: Pairing) -> Result<Rotary> {
    if dims > MOST_DIMS {
        let message = format!("heads have {dims} elements to rotate; expected at most {MOST_DIMS}");
        return Err(Error::data("bad_config", message));
    }
    if !dims.is_multiple_of(2) {
        let message =
            format!("{dims} elements of a head are to be rotated in pairs; expected an even number");
        return Err(Error::data("bad_config", message));
    }
    if theta.is_finite() && theta > 0.0 {
        return Ok(Rotary::new(dims, theta, pairing));
    }
    let message = format!("`rope_theta` is {theta}; expected a number above 0");
    Err(Error::data("bad_config", message))
}

fn positive(scaling: &Json, key: &str, default: Option<f64>) -> Result<f64> {
    let value = scaling.find_number(key)?.or(default);
    let value = value.ok_or_else(|| Error::data("bad_config", format!("rotary scaling has no `{key}`")))?;
    if value.is_finite() && value > 0.0 {
        return Ok(value);
    }
    let message = format!("`{key}` of the rotary scaling is {value}; expected a number above 0");
    Err(Error::data("bad_config", message))
}

/// Llama 3.1: long wavelengths are stretched by `factor`, short ones left, those between mixed.
fn llama3(rotary: &mut Rotary, scaling: &Json, factor: f64) -> Result<()> {
    let low = positive(scaling, "low_freq_factor", None)?;
    let high = positive(scaling, "high_freq_factor", None)?;
    let original = positive(scaling, "original_max_position_embeddings", None)?;
    for frequency in &mut rotary.frequencies {
        let wavelength = 2.0 * PI / *frequency;
        if wavelength > original / low {
            *frequency /= factor;
        } else if wavelength >= original / high {
            let share = (original / wavelength - low) / (high - low);
            *frequency *= (1.0 - share) / factor + share;
        }
    }
    Ok(())
}

/// YaRN (Peng et al. 2023, §3.2–3.4): pairs that turn seldom are interpolated, those that turn often left.
fn yarn(rotary: &mut Rotary, json: &Json, scaling: &Json, factor: f64, dims: usize, base: f64) -> Result<()> {
    let original = match scaling.find_number("original_max_position_embeddings")? {
        Some(_) => positive(scaling, "original_max_position_embeddings", None)?,
        None => json.size("max_position_embeddings")? as f64,
    };
    let fast = positive(scaling, "beta_fast", Some(32.0))?;
    let slow = positive(scaling, "beta_slow", Some(1.0))?;
    // The pair that makes so many turns over the original context.
    let pair = |turns: f64| dims as f64 * (original / (turns * 2.0 * PI)).ln() / (2.0 * base.ln());
    let (mut low, mut high) = (pair(fast), pair(slow));
    if scaling.flag_or("truncate", true)? {
        (low, high) = (low.floor(), high.ceil());
    }
    let (low, mut high) = (low.max(0.0), high.min(dims as f64 - 1.0));
    if low == high {
        high += 0.001;
    }
    for (i, frequency) in rotary.frequencies.iter_mut().enumerate() {
        let interpolated = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
        *frequency *= 1.0 - interpolated + interpolated / factor;
    }
    let growth = |scale: f64| {
        if factor <= 1.0 {
            1.0
        } else {
            0.1 * scale * factor.ln() + 1.0
        }
    };
    let scales = (
        scaling.find_number("mscale")?,
        scaling.find_number("mscale_all_dim")?,
    );
    rotary.scale = match (scaling.find_number("attention_factor")?, scales) {
        (Some(given), _) => given,
        (None, (Some(scale), Some(all))) if scale != 0.0 && all != 0.0 => growth(scale) / growth(all),
        _ => growth(1.0),
    };
    Ok(())
}
