//! The third stage: what would run, what is cached, and why a step is new.
