//! Rows of a table by their numbers, as of tokens.

use burn::tensor::{Int, Tensor};

#[cfg(feature = "cube")]
use crate::cube;

/// Row `ids_n[i]` of a table for every `i`; a row's gradient is the sum over where it was taken, in order.
///
/// # Shapes
/// `table_vd`: `[v, d]`, `ids_n`: `[n]`, each below `v`; the result is `[n, d]`.
pub fn table_rows(table_vd: Tensor<2>, ids_n: Tensor<1, Int>) -> Tensor<2> {
    #[cfg(feature = "cube")]
    if cube::takes(&table_vd) {
        return cube::rows(table_vd, ids_n);
    }
    table_vd.select(0, ids_n)
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::testing::check;

    #[test]
    fn rows_are_taken_and_their_gradients_added_up() {
        let (v, d) = (37, 5);
        let ids: Vec<i64> = (0..600).map(|i| i * i % 31).collect();
        let table = (crate::testing::values(1, v * d, 1.0), [v, d]);
        check(&[table], |[table_vd]| {
            let data = TensorData::new(ids.clone(), [ids.len()]);
            let ids_n = Tensor::from_data(data, &table_vd.device());
            table_rows(table_vd, ids_n)
        });
    }
}
