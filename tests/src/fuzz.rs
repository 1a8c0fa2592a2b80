//! What the fuzz targets do with bytes: nothing that is read may panic.

/// Bytes of an experiment file.
pub fn experiment(_data: &[u8]) {}
