//! Claims: what an experiment says will happen, judged by what did.
//!
//! Over two or more seeds a claim is judged by Student's t over paired differences; over one run by a paired bootstrap
//! over evaluation instances. It held if the whole 95 % interval of the difference lies on the claimed side of 0.

mod intervals;
mod judge;

pub use intervals::{Interval, paired_bootstrap, student_t};
pub use judge::{Measured, judge};
