//! FLOPs: 2 × multiply-adds of every matrix product, head included, causal attention at half; backward twice the forward.
