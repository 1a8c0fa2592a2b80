//! Walking over Thrift's compact protocol without keeping any of it.

/// Type of a 32-bit number.
pub(super) const I32: u8 = 5;
/// Type of a 64-bit number.
pub(super) const I64: u8 = 6;
/// Type of text and bytes.
pub(super) const BINARY: u8 = 8;
/// Type of a list.
pub(super) const LIST: u8 = 9;
/// Type of a structure.
pub(super) const STRUCT: u8 = 12;

/// Deeper nesting than any real file has.
const DEEPEST: u32 = 32;

/// Reads values one after the other; none where they do not hold together.
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
}

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            depth: 0,
        }
    }

    /// How many bytes were read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    fn pass(&mut self, count: u64) -> Option<()> {
        (count <= self.left()).then(|| self.at += count as usize)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A number of 64 bits.
    pub(super) fn i64(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A number of 32 bits.
    pub(super) fn i32(&mut self) -> Option<i32> {
        self.i64()?.try_into().ok()
    }

    /// A number that counts something.
    pub(super) fn count(&mut self) -> Option<u64> {
        self.i64()?.try_into().ok()
    }

    /// A structure. `field` is told the number and type of each field and reads its value, or gives false without having
    /// read anything, and the value is passed over.
    pub(super) fn structure(
        &mut self,
        mut field: impl FnMut(&mut Self, i16, u8) -> Option<bool>,
    ) -> Option<()> {
        self.deeper()?;
        let mut number = 0_i16;
        loop {
            let head = self.byte()?;
            let kind = head & 0x0f;
            if kind == 0 {
                self.depth -= 1;
                return Some(());
            }
            number = match head >> 4 {
                0 => self.i64()?.try_into().ok()?,
                step => number.checked_add(i16::from(step))?,
            };
            // A truth value stands in the head itself.
            if !field(self, number, kind)? && kind > 2 {
                self.pass_over(kind)?;
            }
        }
    }

    /// A list of structures, each read by `element`.
    pub(super) fn structures(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        let (count, kind) = self.list()?;
        if count > 0 && kind != STRUCT {
            return None;
        }
        (0..count).try_for_each(|_| element(self))
    }

    /// The head of a list: how many elements of what type. Each takes a byte at least, so there cannot be more of them
    /// than bytes.
    fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            count => u64::from(count),
        };
        (count <= self.left()).then_some((count, head & 0x0f))
    }

    fn pass_over(&mut self, kind: u8) -> Option<()> {
        match kind {
            1..=3 => self.pass(1),
            4..=6 => self.varint().map(|_| ()),
            7 => self.pass(8),
            8 => {
                let length = self.varint()?;
                self.pass(length)
            }
            9 | 10 => {
                let (count, kind) = self.list()?;
                self.many(count, &[kind])
            }
            11 => {
                let count = self.varint()?;
                if count == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                (count <= self.left()).then_some(())?;
                self.many(count, &[kinds >> 4, kinds & 0x0f])
            }
            12 => self.structure(|_, _, _| Some(false)),
            _ => None,
        }
    }

    /// `count` times one value of each kind.
    fn many(&mut self, count: u64, kinds: &[u8]) -> Option<()> {
        self.deeper()?;
        for _ in 0..count {
            for &kind in kinds {
                self.pass_over(kind)?;
            }
        }
        self.depth -= 1;
        Some(())
    }

    fn deeper(&mut self) -> Option<()> {
        self.depth += 1;
        (self.depth <= DEEPEST).then_some(())
    }
}

/// Whether a field has the type that the format gives it; fields it does not know may have any.
pub(super) fn fits(kind: u8, field: i16, kinds: &[(i16, u8)]) -> Option<()> {
    let known = kinds.iter().find(|(number, _)| *number == field);
    known.is_none_or(|(_, expected)| *expected == kind).then_some(())
}
