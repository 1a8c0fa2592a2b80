//! Where a stopped training of a perceptron goes on: a curve, and then a file that names it.

use super::super::curve::{self, Point};
use crate::reweight::Doubt;
use crate::trajectory::{Number, from_bytes, to_bytes};
use crate::{Context, Error, Result, disk};
use std::path::PathBuf;

/// Numbers before θ.
const HEAD: usize = 4;

/// How far a training has come.
pub(super) struct Position<N> {
    pub(super) step: u64,
    pub(super) theta: Vec<N>,
    pub(super) doubt: Doubt,
    pub(super) flops: f64,
    pub(super) points: Vec<Point>,
}

impl<N> Position<N> {
    /// Adds a point of the curve.
    pub(super) fn note(&mut self, split: &'static str, metric: &'static str, value: f64, tokens: u64) {
        self.points.push(Point {
            step: self.step,
            split,
            metric,
            value,
            tokens,
        });
    }
}

fn state(context: &Context) -> PathBuf {
    context.scratch.join("state")
}

fn curve_of(context: &Context, step: u64) -> PathBuf {
    context.scratch.join(format!("curve-{step}.parquet"))
}

/// Commits a checkpoint, and removes the curve of the one before.
pub(super) fn save<N: Number>(context: &Context, position: &Position<N>) -> Result<()> {
    let before = read_head(context)?.map(|(head, _)| head[0] as u64);
    curve::write(&curve_of(context, position.step), &position.points)?;
    let Doubt { weighed, alike } = position.doubt;
    let head = [position.step as f64, weighed as f64, alike as f64, position.flops];
    let mut bytes = to_bytes(&head);
    bytes.extend(to_bytes(&position.theta));
    let file = state(context);
    disk::write_atomically(&file, bytes).map_err(Error::io("cannot write", &file))?;
    if let Some(before) = before.filter(|before| *before != position.step) {
        // A curve that is left behind is in nobody's way.
        let _ = std::fs::remove_file(curve_of(context, before));
    }
    Ok(())
}

/// The checkpoint, or the beginning at `start`. `bad_checkpoint`.
pub(super) fn restore<N: Number>(context: &Context, start: Vec<N>) -> Result<Position<N>> {
    let Some((head, rest)) = read_head(context)? else {
        return Ok(Position {
            step: 0,
            theta: start,
            doubt: Doubt::default(),
            flops: 0.0,
            points: Vec::new(),
        });
    };
    if rest.len() != start.len() * N::BYTES {
        return Err(bad(context));
    }
    let step = head[0] as u64;
    Ok(Position {
        step,
        theta: from_bytes(&rest),
        doubt: Doubt {
            weighed: head[1] as u64,
            alike: head[2] as u64,
        },
        flops: head[3],
        points: curve::read(&curve_of(context, step))?,
    })
}

fn bad(context: &Context) -> Error {
    Error::data("bad_checkpoint", "it is of another training")
        .in_file(state(context))
        .hint("delete the folder; training starts afresh")
}

/// The numbers before θ, and the bytes after them; none if there is no checkpoint.
fn read_head(context: &Context) -> Result<Option<(Vec<f64>, Vec<u8>)>> {
    let file = state(context);
    if !file.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(&file).map_err(Error::io("cannot read", &file))?;
    let (head, rest) = bytes
        .split_at_checked(HEAD * f64::BYTES)
        .ok_or_else(|| bad(context))?;
    Ok(Some((from_bytes(head), rest.to_vec())))
}
