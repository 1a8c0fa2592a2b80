//! Writing new keys or values into a cache.

use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor};
use burn_flex::FlexTensor;

use crate::attention::Row;
use crate::flex::{self, Plain};

/// The cache with new row `b` written into its row `rows[b].row` from position `rows[b].past` on; the rest is untouched.
/// In place on the CPU where no one else holds the cache. The result lies outside the graph.
///
/// # Shapes
/// `cache_csgd`: `[c, s, g, d]`, `new_btgd`: `[b, t, g, d]`, `rows`: one for each `b`; the result is `[c, s, g, d]`.
pub fn append(cache_csgd: Tensor<4>, new_btgd: Tensor<4>, rows: &[Row]) -> Tensor<4> {
    let ([c, s, g, d], [b, t, new_g, new_d]) = (cache_csgd.dims(), new_btgd.dims());
    assert_eq!(
        (g, d),
        (new_g, new_d),
        "new rows have the cache's heads and width"
    );
    assert_eq!(rows.len(), b, "one row for each new one");
    for row in rows {
        assert!(row.row < c, "row {} is one of the cache's {c}", row.row);
        assert!(
            row.past + t <= s,
            "position {} lies in the cache's {s}",
            row.past + t
        );
    }
    let (cache_csgd, new_btgd) = (cache_csgd.without_autodiff(), new_btgd.without_autodiff());
    let dtype = cache_csgd.dtype();
    assert_eq!(dtype, new_btgd.dtype(), "new rows have the cache's type");
    if !flex::is_on_processor(&cache_csgd) || !matches!(dtype, DType::F32 | DType::F64) {
        return reference(cache_csgd, new_btgd, rows);
    }
    Tensor::from_dispatch(Dispatch::fused_append(
        cache_csgd.into_dispatch(),
        new_btgd.into_dispatch(),
        rows.to_vec(),
    ))
}

/// The operation composed of burn's.
pub(crate) fn reference(cache_csgd: Tensor<4>, new_btgd: Tensor<4>, rows: &[Row]) -> Tensor<4> {
    let [_, t, g, d] = new_btgd.dims();
    rows.iter().enumerate().fold(cache_csgd, |cache_csgd, (b, row)| {
        let place = [row.row..row.row + 1, row.past..row.past + t, 0..g, 0..d];
        cache_csgd.slice_assign(place, new_btgd.clone().narrow(0, b, 1))
    })
}

/// The fused body; a cache that no one else holds is written in place.
pub(crate) fn flex_append(cache: FlexTensor, new: &FlexTensor, rows: &[Row]) -> FlexTensor {
    let [_, s, g, d] = flex::dims(&cache);
    let [_, t, ..] = flex::dims::<4>(new);
    let (mut cache, new) = (flex::owned(cache), new.to_contiguous());
    let size = t * g * d;
    let places = rows.iter().map(|row| (row.row * s + row.past) * g * d);
    if cache.dtype() == DType::F64 {
        write(cache.storage_mut::<f64>(), new.storage(), places, size);
    } else {
        write(cache.storage_mut::<f32>(), new.storage(), places, size);
    }
    cache
}

/// Copies every `size` elements of `new` to the next place.
fn write<T: Copy>(cache: &mut [T], new: &[T], places: impl Iterator<Item = usize>, size: usize) {
    for (place, new) in places.zip(new.chunks_exact(size.max(1))) {
        cache[place..place + size].copy_from_slice(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{host, tensor, values};

    const ROWS: [Row; 2] = [
        Row {
            row: 2,
            first: 0,
            past: 3,
        },
        Row {
            row: 0,
            first: 1,
            past: 1,
        },
    ];

    #[test]
    fn rows_are_written_where_they_belong() {
        let [c, s, g, d, t] = [3, 6, 2, 3, 2];
        for dtype in [DType::F32, DType::F64, DType::BF16] {
            let cache = tensor(&values(1, c * s * g * d, 1.0), [c, s, g, d], dtype, false);
            let new = tensor(&values(2, 2 * t * g * d, 1.0), [2, t, g, d], dtype, false);
            let found = host(append(cache.clone(), new.clone(), &ROWS));
            let (mut expected, new) = (host(cache.clone()), host(new));
            for (row, new) in ROWS.iter().zip(new.chunks(t * g * d)) {
                let start = (row.row * s + row.past) * g * d;
                expected[start..start + t * g * d].copy_from_slice(new);
            }
            assert_eq!(found, expected);
            // The cache was held here as well, so it was copied.
            assert_eq!(
                host(cache),
                values(1, c * s * g * d, 1.0)
                    .iter()
                    .map(|x| narrow(*x, dtype))
                    .collect::<Vec<_>>()
            );
        }
    }

    /// A value as its type keeps it.
    fn narrow(value: f64, dtype: DType) -> f64 {
        host(tensor(&[value], [1], dtype, false))[0]
    }

    #[test]
    fn a_cache_that_no_one_else_holds_is_written_in_place() {
        let cache = FlexTensor::from_data(burn::tensor::TensorData::new(vec![0.0_f32; 36], [3, 6, 2, 1]));
        let new = FlexTensor::from_data(burn::tensor::TensorData::new(vec![1.0_f32; 8], [2, 2, 2, 1]));
        let before = cache.storage::<f32>().as_ptr();
        assert_eq!(flex_append(cache, &new, &ROWS).storage::<f32>().as_ptr(), before);
    }
}
