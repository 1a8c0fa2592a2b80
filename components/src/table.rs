//! Tables in long form.
