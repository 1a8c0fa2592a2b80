//! Stands in for the crate `cubecl-llvm` when Lyceum is built with `cuda`.
//!
//! cubecl's CUDA runtime has two code generators: LLVM, and C++ compiled by NVRTC at run time. It depends on both, and the
//! LLVM one downloads a prebuilt LLVM from outside the package registry in its build script. Lyceum promises a CUDA build
//! from the registry alone, so it selects C++ (feature `cpp` of `cubecl-cuda`) and replaces the other generator by this
//! crate, which has the names that `cubecl-cuda` uses and refuses to compile. Nothing here runs in a correct build.
//!
//! Remove it once cubecl makes its LLVM generator optional.

use core::fmt;

use cubecl_core::ir::nvidia::SmArch;
use cubecl_core::prelude::KernelDefinition;
use cubecl_environment::backtrace::BackTrace;
use cubecl_runtime::compiler::{CompilationError, Compiler};
use cubecl_runtime::kernel::BufferIOAttr;

/// The part for NVIDIA's virtual instruction set.
pub mod nvptx {
    /// Versions of PTX.
    pub mod ptx_version {
        use core::fmt;

        /// A version of PTX; none is ever made.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum PtxVersion {}

        impl PtxVersion {
            /// The version for a driver: none, since nothing is generated.
            pub fn for_driver(_driver: i32) -> Option<Self> {
                None
            }
        }

        impl fmt::Display for PtxVersion {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {}
            }
        }
    }
}

/// What the targets share.
pub mod shared {
    /// Features that a target lacks.
    pub mod lowered_features {
        use cubecl_core::ir::DeviceProperties;

        /// A GPU target.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum GpuTarget {
            /// NVIDIA.
            Nvptx,
        }

        /// Leaves the features as they are; only called where LLVM is the generator.
        pub fn restrict_features(_properties: &mut DeviceProperties, _target: GpuTarget) {}
    }
}

/// What code is generated for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LlvmTarget {
    /// The processor.
    #[default]
    Cpu,
    /// NVIDIA.
    Nvptx,
}

/// The generator that refuses.
#[derive(Clone, Debug, Default)]
pub struct PlironCompiler {
    /// What code would be generated for.
    pub target: LlvmTarget,
}

/// Options of the generator, all unread.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    /// Architecture of another vendor.
    pub arch: Option<()>,
    /// NVIDIA's architecture.
    pub sm_arch: Option<SmArch>,
    /// Version of PTX.
    pub ptx_version: Option<nvptx::ptx_version::PtxVersion>,
    /// Whether launch parameters are constants of the grid.
    pub grid_constants: bool,
    /// The options not named here, which `cubecl-cuda` leaves at their defaults.
    pub others: (),
}

/// A generated module, never made.
#[derive(Clone, Debug)]
pub struct NvptxModule {
    /// The code, ended by zero.
    pub ptx: Vec<core::ffi::c_char>,
    /// Name of the kernel.
    pub entrypoint: String,
    /// The code as text.
    pub ir: String,
    /// Bytes of shared memory.
    pub shared_memory_size: usize,
    /// How each buffer is used.
    pub io: Vec<BufferIOAttr>,
}

/// What the generator gives, never made.
#[derive(Clone, Debug)]
pub enum PlironArtifact {
    /// Code for NVIDIA.
    NvptxCode(NvptxModule),
    /// Any other code: keeps the match in `cubecl-cuda` from being complete without it.
    Other,
}

impl fmt::Display for PlironArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no code")
    }
}

impl Compiler for PlironCompiler {
    type Representation = PlironArtifact;
    type CompilationOptions = PlironOptions;

    fn compile(
        &mut self,
        _: KernelDefinition,
        _: &PlironOptions,
    ) -> Result<PlironArtifact, CompilationError> {
        Err(CompilationError::Generic {
            reason: "this build has no LLVM code generator; kernels go through C++ and NVRTC".into(),
            backtrace: BackTrace::capture(),
        })
    }

    fn extension(&self) -> &'static str {
        "ll"
    }

    fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}
