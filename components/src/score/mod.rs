//! One number an item, for choosing by. In every score column called `score`, higher is kept.

mod difference;

pub use difference::score_difference;
