//! TensorBoard's event files: an optional second place for a training curve, which no result depends on.
//!
//! A file is a sequence of TFRecords (length, masked CRC-32C of the length, content, masked CRC-32C of the content), each
//! holding one `Event` message in protocol buffers. Only the four fields that scalars need are written.

use lyceum_components::disk;
use lyceum_components::train::Point;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// What the first record of every file says.
const VERSION: &str = "brain.Event:2";
/// What TensorFlow adds to a rotated checksum, so that checksums of data that hold checksums differ from them.
const MASK_DELTA: u32 = 0xa282_ead8;

/// An event file that is being written.
#[derive(Debug)]
pub struct EventFile {
    out: disk::File,
}

impl EventFile {
    /// Makes a file in `folder`, which is made too, under the name by which TensorBoard finds it.
    pub fn create(folder: &Path) -> io::Result<Self> {
        disk::create_dir_all(folder)?;
        let name = format!(
            "events.out.tfevents.{:010}.lyceum.{}",
            now() as u64,
            std::process::id()
        );
        let mut file = Self {
            out: disk::File::create(&folder.join(name))?,
        };
        let mut event = Vec::new();
        double(&mut event, 1, now());
        bytes(&mut event, 3, VERSION.as_bytes());
        file.record(&event)?;
        Ok(file)
    }

    /// Adds a value of the curve called `tag`, at a step of training, measured now.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f64) -> io::Result<()> {
        self.record(&scalar_event(now(), tag, step, value))
    }

    /// Adds a point of a training curve under the tag `train/loss`, say.
    pub(crate) fn point(&mut self, point: &Point) -> io::Result<()> {
        self.scalar(
            &format!("{}/{}", point.split, point.metric),
            point.step,
            point.value,
        )
    }

    /// A record goes out in one write: a reader beside sees whole records, and a kill loses none that were written.
    fn record(&mut self, event: &[u8]) -> io::Result<()> {
        self.out.write_all(&frame(event))
    }
}

/// The event file of one training, made at its first point. Writing fails at most once: then it is given up.
#[derive(Debug)]
pub(crate) struct Events(Mutex<Sink>);

#[derive(Debug)]
enum Sink {
    Folder(PathBuf),
    Open(EventFile),
    GivenUp,
}

impl Events {
    pub(crate) const fn new(folder: PathBuf) -> Self {
        Self(Mutex::new(Sink::Folder(folder)))
    }

    /// Adds points, measured now.
    pub(crate) fn add(&self, points: &[Point]) -> io::Result<()> {
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let added = sink.add(points);
        if added.is_err() {
            *sink = Sink::GivenUp;
        }
        added
    }
}

impl Sink {
    fn add(&mut self, points: &[Point]) -> io::Result<()> {
        if let Self::Folder(folder) = self {
            *self = Self::Open(EventFile::create(folder)?);
        }
        let Self::Open(file) = self else {
            return Ok(());
        };
        points.iter().try_for_each(|point| file.point(point))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs_f64()
}

/// `Event { wall_time: 1, step: 2, summary: 5 { value: 1 { tag: 1, simple_value: 2 } } }`.
fn scalar_event(time: f64, tag: &str, step: u64, value: f64) -> Vec<u8> {
    let mut scalar = Vec::new();
    bytes(&mut scalar, 1, tag.as_bytes());
    scalar.push(2 << 3 | 5);
    scalar.extend((value as f32).to_le_bytes());
    let mut summary = Vec::new();
    bytes(&mut summary, 1, &scalar);
    let mut event = Vec::new();
    double(&mut event, 1, time);
    event.push(2 << 3);
    varint(&mut event, step);
    bytes(&mut event, 5, &summary);
    event
}

fn frame(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_le_bytes();
    [
        &length[..],
        &masked(&length).to_le_bytes(),
        content,
        &masked(content).to_le_bytes(),
    ]
    .concat()
}

fn masked(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(MASK_DELTA)
}

fn double(out: &mut Vec<u8>, field: u8, value: f64) {
    out.push(field << 3 | 1);
    out.extend(value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    out.push(field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend(value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_framed_as_tensorflow_does() {
        // The check value of CRC-32C (RFC 3720), masked as TensorFlow's `crc32c::Mask` does.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked(b"123456789"), 0xc78a_b0e5);
        // Every event file begins so: a first event of 24 bytes, and the checksum of that length.
        let mut first = Vec::new();
        double(&mut first, 1, 1.5);
        bytes(&mut first, 3, VERSION.as_bytes());
        let framed = frame(&first);
        assert_eq!(framed[..12], [0x18, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22]);
        assert_eq!(framed[12..21], [0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f]);
        assert_eq!(&framed[21..36], b"\x1a\x0dbrain.Event:2");
        assert_eq!(framed.len(), 8 + 4 + 24 + 4);
    }

    #[test]
    fn a_scalar_is_these_bytes() {
        // As `protoc --decode` reads them: wall_time 2, step 300, summary { value { tag "loss", simple_value 0.5 } }.
        let expected = [
            &[
                0x09, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x10, 0xac, 0x02, 0x2a, 0x0d, 0x0a, 0x0b, 0x0a, 0x04,
            ][..],
            b"loss",
            &[0x15, 0, 0, 0, 0x3f],
        ]
        .concat();
        assert_eq!(scalar_event(2.0, "loss", 300, 0.5), expected);
    }
}
