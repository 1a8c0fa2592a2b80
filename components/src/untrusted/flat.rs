//! Looking things up in FlatBuffers, the encoding of Arrow's metadata; none where a place lies outside.

/// Some bytes that numbers are read from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flat<'a>(pub(super) &'a [u8]);

/// A table: fields by number, any of which may be left out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    flat: Flat<'a>,
    at: usize,
    fields: usize,
    end: usize,
}

impl<'a> Flat<'a> {
    fn number<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..)?.first_chunk().copied()
    }

    pub(super) fn u16(self, at: usize) -> Option<u16> {
        self.number(at).map(u16::from_le_bytes)
    }

    pub(super) fn u32(self, at: usize) -> Option<u32> {
        self.number(at).map(u32::from_le_bytes)
    }

    /// A number of 64 bits that is not negative.
    pub(super) fn size(self, at: usize) -> Option<usize> {
        usize::try_from(i64::from_le_bytes(self.number(at)?)).ok()
    }

    /// The table that the whole is.
    pub(super) fn root(self) -> Option<Table<'a>> {
        self.table(self.follow(0)?)
    }

    /// What the offset at `at` points to.
    fn follow(self, at: usize) -> Option<usize> {
        at.checked_add(usize::try_from(self.u32(at)?).ok()?)
    }

    fn table(self, at: usize) -> Option<Table<'a>> {
        let back = i32::from_le_bytes(self.number(at)?);
        let fields = usize::try_from(i64::try_from(at).ok()? - i64::from(back)).ok()?;
        let end = fields.checked_add(usize::from(self.u16(fields)?))?;
        Some(Table {
            flat: self,
            at,
            fields: fields + 4,
            end,
        })
    }
}

impl<'a> Table<'a> {
    fn field(self, number: usize) -> Option<usize> {
        let slot = self.fields.checked_add(2 * number)?;
        let offset = (slot + 2 <= self.end).then(|| self.flat.u16(slot))??;
        (offset > 0).then(|| self.at + usize::from(offset))
    }

    /// Whether the field is there.
    pub(super) fn has(self, number: usize) -> bool {
        self.field(number).is_some()
    }

    /// A byte; 0 where it is left out.
    pub(super) fn u8(self, number: usize) -> Option<u8> {
        self.field(number)
            .map_or(Some(0), |at| self.flat.0.get(at).copied())
    }

    /// A number of 32 bits; 0 where it is left out.
    pub(super) fn u32(self, number: usize) -> Option<u32> {
        self.field(number).map_or(Some(0), |at| self.flat.u32(at))
    }

    /// A number of 64 bits that is not negative; 0 where it is left out.
    pub(super) fn size(self, number: usize) -> Option<usize> {
        self.field(number).map_or(Some(0), |at| self.flat.size(at))
    }

    /// A table.
    pub(super) fn table(self, number: usize) -> Option<Table<'a>> {
        self.flat.table(self.flat.follow(self.field(number)?)?)
    }

    /// Text.
    pub(super) fn text(self, number: usize) -> Option<&'a str> {
        let (start, count) = self.list(number, 1)?;
        std::str::from_utf8(self.flat.0.get(start..start + count)?).ok()
    }

    /// A list of structures of `bytes` bytes each; empty where it is left out.
    pub(super) fn structures(self, number: usize, bytes: usize) -> Option<impl Iterator<Item = Flat<'a>>> {
        let (start, count) = self.list(number, bytes)?;
        Some(
            self.flat.0[start..start + count * bytes]
                .chunks_exact(bytes)
                .map(Flat),
        )
    }

    /// A list of tables; empty where it is left out.
    pub(super) fn tables(self, number: usize) -> Option<impl Iterator<Item = Option<Table<'a>>>> {
        let (start, count) = self.list(number, 4)?;
        let table = move |i: usize| self.flat.table(self.flat.follow(start + 4 * i)?);
        Some((0..count).map(table))
    }

    /// Where the elements of a list begin and how many there are; all of them lie inside.
    fn list(self, number: usize, bytes: usize) -> Option<(usize, usize)> {
        let Some(at) = self.field(number) else {
            return Some((0, 0));
        };
        let at = self.flat.follow(at)?;
        let count = usize::try_from(self.flat.u32(at)?).ok()?;
        let end = (at + 4).checked_add(count.checked_mul(bytes)?)?;
        (end <= self.flat.0.len()).then_some((at + 4, count))
    }
}
