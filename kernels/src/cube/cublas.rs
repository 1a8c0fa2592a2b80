//! Products by cuBLAS, which is asked for at run time. Of cubecl's stream nothing is known outside it, so that the device is
//! waited for before and after: some ten microseconds each, beside products that take hundreds.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use burn::backend::TensorMetadata;
use burn::tensor::DType;

use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::{CubeDevice, tensor::CubeTensor};
use cubecl_cuda::CudaRuntime;
use cubecl_runtime::runtime::Runtime;
use cudarc::cublas::sys::{
    cublasComputeType_t, cublasCreate_v2, cublasGemmAlgo_t, cublasGemmStridedBatchedEx, cublasHandle_t,
    cublasOperation_t, cublasStatus_t, cudaDataType, is_culib_present,
};
use cudarc::driver::result::{ctx, device, primary_ctx};
use cudarc::driver::sys::{CUcontext, cuCtxSynchronize};

use super::empty_like;
use super::product::shape;

/// cuBLAS on a device.
struct Library {
    context: CUcontext,
    handle: cublasHandle_t,
}

// SAFETY: contexts and handles may be used from any thread, one at a time, which the lock around them sees to.
unsafe impl Send for Library {}

/// By device; none where there is no library or no device.
static LIBRARIES: Mutex<BTreeMap<usize, Option<Library>>> = Mutex::new(BTreeMap::new());

/// Whether the loader can open the library.
pub(crate) fn is_there() -> bool {
    // SAFETY: opens the library and closes it again; its initialisers may run in any process.
    unsafe { is_culib_present() }
}

fn open(index: usize) -> Option<Library> {
    if !is_there() {
        return None;
    }
    let gpu = device::get(i32::try_from(index).ok()?).ok()?;
    // SAFETY: the device is the driver's; its primary context is the one that cubecl works in, and never released.
    let context = unsafe { primary_ctx::retain(gpu) }.ok()?;
    // SAFETY: the context was just retained.
    unsafe { ctx::set_current(context) }.ok()?;
    let mut handle: cublasHandle_t = std::ptr::null_mut();
    // SAFETY: the library is there and a context current; the handle lives as long as the process.
    let status = unsafe { cublasCreate_v2(&raw mut handle) };
    (status == cublasStatus_t::CUBLAS_STATUS_SUCCESS).then_some(Library { context, handle })
}

/// How a matrix `[…, rows, columns]` lies.
struct Matrix {
    tensor: CubeTensor,
    /// Columns follow each other, not rows.
    turned: bool,
    /// Elements from one row (or column) to the next.
    leading: usize,
    /// Elements from one matrix to the next.
    apart: usize,
}

impl Matrix {
    fn new(tensor: &CubeTensor) -> Self {
        if let Some(matrix) = Self::as_it_lies(tensor.clone()) {
            return matrix;
        }
        let tensor = into_contiguous(tensor.clone());
        let shape = tensor.shape();
        let rank = shape.num_dims();
        Self {
            turned: false,
            leading: shape[rank - 1],
            apart: shape[rank - 2] * shape[rank - 1],
            tensor,
        }
    }

    fn as_it_lies(tensor: CubeTensor) -> Option<Self> {
        let shape = tensor.shape();
        let rank = shape.num_dims();
        let strides = tensor.meta.strides().to_vec();
        let [rows, columns] = [shape[rank - 2], shape[rank - 1]];
        let (turned, leading) = match [strides[rank - 2], strides[rank - 1]] {
            [leading, 1] if leading >= columns => (false, leading),
            [1, leading] if leading >= rows => (true, leading),
            _ => return None,
        };
        // Matrices lie as far apart from each other everywhere.
        let apart = if rank > 2 { strides[rank - 3] } else { 0 };
        let even =
            (0..rank.saturating_sub(3)).all(|axis| strides[axis] == strides[axis + 1] * shape[axis + 1]);
        (even || rank <= 3).then_some(Self {
            tensor,
            turned,
            leading,
            apart,
        })
    }

    fn operation(&self) -> cublasOperation_t {
        // To the library, which counts by columns, a matrix of rows is its transpose, and so is the result.
        if self.turned {
            cublasOperation_t::CUBLAS_OP_T
        } else {
            cublasOperation_t::CUBLAS_OP_N
        }
    }
}

fn type_of(dtype: DType) -> Option<cudaDataType> {
    match dtype {
        DType::F32 => Some(cudaDataType::CUDA_R_32F),
        DType::BF16 => Some(cudaDataType::CUDA_R_16BF),
        _ => None,
    }
}

/// `a · b` in this type; none where it is not for the library.
pub(super) fn product(a: &CubeTensor, b: &CubeTensor, dtype: DType) -> Option<CubeTensor> {
    let CubeDevice::Cuda(gpu) = &a.device else {
        return None;
    };
    let (of_factors, of_result) = (type_of(a.dtype)?, type_of(dtype)?);
    let shape = shape(&a.shape(), &b.shape());
    let rank = shape.num_dims();
    let (m, n, k) = (shape[rank - 2], shape[rank - 1], a.shape()[rank - 1]);
    let count: usize = (0..rank - 2).map(|axis| shape[axis]).product();
    if m * n * k * count == 0 {
        return None;
    }
    let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
    let library = libraries
        .entry(gpu.index)
        .or_insert_with(|| open(gpu.index))
        .as_ref()?;
    let [a, b] = [a, b].map(Matrix::new);
    let value = empty_like(&a.tensor, shape, dtype);
    let pointers = [&a.tensor, &b.tensor, &value].map(|tensor| {
        let resource = tensor
            .client
            .get_resource::<<CudaRuntime as Runtime>::Server>(tensor.handle.clone());
        resource.ok().map(|resource| (resource.resource().ptr, resource))
    });
    let [Some((at_a, _a)), Some((at_b, _b)), Some((at_value, _value))] = pointers else {
        return None;
    };
    let int = |size: usize| i32::try_from(size).ok();
    let (m, n, k, count, a_leading, b_leading) = (
        int(m)?,
        int(n)?,
        int(k)?,
        int(count)?,
        int(a.leading)?,
        int(b.leading)?,
    );
    let apart = |matrix: &Matrix| matrix.apart as i64;
    let [one, zero] = [1.0f32, 0.0f32];
    // SAFETY: the pointers are of this device and as large as the sizes say; what was written to them before is waited for, and
    // so is the product, before anything can read or free them.
    let status = unsafe {
        ctx::set_current(library.context).ok()?;
        cuCtxSynchronize().result().ok()?;
        let status = cublasGemmStridedBatchedEx(
            library.handle,
            b.operation(),
            a.operation(),
            n,
            m,
            k,
            (&raw const one).cast::<c_void>(),
            at_b as *const c_void,
            of_factors,
            b_leading,
            apart(&b),
            at_a as *const c_void,
            of_factors,
            a_leading,
            apart(&a),
            (&raw const zero).cast::<c_void>(),
            at_value as *mut c_void,
            of_result,
            n,
            i64::from(m) * i64::from(n),
            count,
            cublasComputeType_t::CUBLAS_COMPUTE_32F,
            cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
        );
        cuCtxSynchronize().result().ok()?;
        status
    };
    (status == cublasStatus_t::CUBLAS_STATUS_SUCCESS).then_some(value)
}
