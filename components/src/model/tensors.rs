//! Named tensors in safetensors files.

use crate::{Error, Result, disk};
use burn::tensor::{DType, Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, View};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// A tensor on its device, flat, and the shape it has; its values come to the host while they are written, and no longer.
#[derive(Debug, Clone)]
pub(crate) struct Flat {
    shape: Vec<usize>,
    values: Tensor<1>,
}

impl Flat {
    pub(crate) fn of<const D: usize>(tensor: Tensor<D>) -> Self {
        let shape = tensor.dims().to_vec();
        let size: usize = shape.iter().product();
        let values = tensor.without_autodiff().reshape([size]);
        Self { shape, values }
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

impl View for &Flat {
    fn dtype(&self) -> Dtype {
        stored(self.values.dtype())
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.values.clone().into_data().as_bytes().to_vec())
    }
    fn data_len(&self) -> usize {
        self.len() * self.values.dtype().size()
    }
}

/// How a type of floats is named in files.
fn stored(dtype: DType) -> Dtype {
    match dtype {
        DType::F64 => Dtype::F64,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        _ => Dtype::F32,
    }
}

/// Writes named tensors (of floats). The bytes depend on nothing but names and values.
pub(crate) fn write_tensors(file: &Path, tensors: &BTreeMap<String, TensorData>) -> Result<()> {
    let views = tensors.iter().map(|(name, data)| {
        let view = TensorView::new(stored(data.dtype()), data.shape().to_vec(), data.as_bytes());
        (name, view.expect("the bytes of a tensor fit its shape"))
    });
    write(file, views)
}

/// Writes named tensors that lie on a device, one after the other. The bytes are those of [`write_tensors`].
pub(crate) fn write_flat(file: &Path, tensors: &BTreeMap<String, Flat>) -> Result<()> {
    write(file, tensors)
}

fn write<'a, V: View>(file: &Path, views: impl IntoIterator<Item = (&'a String, V)>) -> Result<()> {
    // Some versions of transformers refuse files that do not say for which framework their layout is.
    let format = [("format".to_owned(), "pt".to_owned())].into();
    let written = disk::write_by(file, || safetensors::serialize_to_file(views, Some(format), file));
    written.map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => Error::io("cannot write", file)(source),
        other => Error::data("bad_safetensors", other.to_string()).in_file(file),
    })
}

/// Reads named tensors as f64 or f32, whichever they are stored in.
///
/// # Errors
/// `bad_safetensors` for a file that is not one, or one with other types.
pub(crate) fn read_tensors(file: &Path) -> Result<BTreeMap<String, TensorData>> {
    let bytes = std::fs::read(file).map_err(Error::io("cannot read", file))?;
    let bad = |what: String| Error::data("bad_safetensors", what).in_file(file);
    let parsed = SafeTensors::deserialize(&bytes).map_err(|error| bad(error.to_string()))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in parsed.iter() {
        let shape = view.shape().to_vec();
        let data = match view.dtype() {
            Dtype::F32 => TensorData::new(numbers(view.data(), f32::from_le_bytes), shape),
            Dtype::F64 => TensorData::new(numbers(view.data(), f64::from_le_bytes), shape),
            other => return Err(bad(format!("tensor `{name}` is {other:?}; expected F32 or F64"))),
        };
        tensors.insert(name.to_owned(), data);
    }
    Ok(tensors)
}

fn numbers<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes
        .as_chunks::<N>()
        .0
        .iter()
        .map(|chunk| read(*chunk))
        .collect()
}
