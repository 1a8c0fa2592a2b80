//! Claims: what an experiment says will happen, judged by what did.
