//! Writing new keys or values into a cache.

use burn::tensor::Tensor;

use crate::attention::Row;

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
    reference(cache_csgd.without_autodiff(), new_btgd.without_autodiff(), rows)
}

/// The operation composed of burn's.
pub(crate) fn reference(cache_csgd: Tensor<4>, new_btgd: Tensor<4>, rows: &[Row]) -> Tensor<4> {
    let [_, t, g, d] = new_btgd.dims();
    rows.iter().enumerate().fold(cache_csgd, |cache_csgd, (b, row)| {
        let place = [row.row..row.row + 1, row.past..row.past + t, 0..g, 0..d];
        cache_csgd.slice_assign(place, new_btgd.clone().narrow(0, b, 1))
    })
}
