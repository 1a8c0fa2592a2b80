//! Objectives of distillation against torch's: `minillm_*.json` and `dpkd_*.json`, in f64 and in f32.

mod dpkd_enum;
mod dpkd_sequence;
mod dpkd_token;
mod enumerable;
mod first_step;
mod fixture;
mod kd;
mod sampled;
mod space;
mod step;
