//! Right factors of attention's products, laid out as the products read them.

use crate::simd::LANES;

/// A matrix cut into panels of [`LANES`] columns, the last filled up with zeros; a panel's rows lie one after the other.
#[derive(Debug, Default)]
pub(super) struct Panels {
    data: Vec<f32>,
    rows: usize,
    columns: usize,
}

/// A part of [`Panels`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Right<'a> {
    /// From the first row of the first panel on.
    pub(super) data: &'a [f32],
    /// From one panel to the next.
    pub(super) stride: usize,
    /// Panels.
    pub(super) count: usize,
}

impl Panels {
    /// Takes the rows of a row-major matrix.
    pub(super) fn take(&mut self, data: &[f32], columns: usize) {
        self.resize(data.len() / columns.max(1), columns);
        for (panel, target) in self.data.chunks_exact_mut((self.rows * LANES).max(1)).enumerate() {
            let first = panel * LANES;
            let width = LANES.min(columns - first);
            for (target, row) in target.chunks_exact_mut(LANES).zip(data.chunks_exact(columns)) {
                if width == LANES {
                    target.copy_from_slice(&row[first..first + LANES]);
                } else {
                    target[..width].copy_from_slice(&row[first..]);
                    target[width..].fill(0.0);
                }
            }
        }
    }

    /// Takes the transpose of a row-major matrix.
    pub(super) fn take_transposed(&mut self, data: &[f32], rows: usize) {
        /// Rows of the result at a time.
        const PART: usize = 16;
        let columns = data.len() / rows.max(1);
        self.resize(rows, columns);
        for (target, source) in self
            .data
            .chunks_exact_mut((rows * LANES).max(1))
            .zip(data.chunks(rows.max(1) * LANES))
        {
            if source.len() < rows * LANES {
                target.fill(0.0);
                for (lane, row) in source.chunks_exact(rows).enumerate() {
                    for (target, value) in target.chunks_exact_mut(LANES).zip(row) {
                        target[lane] = *value;
                    }
                }
                continue;
            }
            let mut sources: [&[f32]; LANES] = [source; LANES];
            for (lane, row) in source.chunks_exact(rows).enumerate() {
                sources[lane] = row;
            }
            for (part, target) in target.chunks_mut(PART * LANES).enumerate() {
                let sources = sources.map(|row| &row[part * PART..][..target.len() / LANES]);
                for (i, target) in target.chunks_exact_mut(LANES).enumerate() {
                    for (value, row) in target.iter_mut().zip(&sources) {
                        *value = row[i];
                    }
                }
            }
        }
    }

    fn resize(&mut self, rows: usize, columns: usize) {
        (self.rows, self.columns) = (rows, columns);
        self.data.resize(rows * columns.next_multiple_of(LANES), 0.0);
    }

    /// All panels from a row on.
    pub(super) fn at_row(&self, row: usize) -> Right<'_> {
        Right {
            data: &self.data[row * LANES..],
            stride: self.rows * LANES,
            count: self.columns.div_ceil(LANES),
        }
    }

    /// The panels that hold `columns` columns from `column` on, the first of a panel.
    pub(super) fn at_column(&self, column: usize, columns: usize) -> Right<'_> {
        Right {
            data: &self.data[column * self.rows..],
            stride: self.rows * LANES,
            count: columns.div_ceil(LANES),
        }
    }
}
