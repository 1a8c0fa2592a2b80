//! What NVIDIA's libraries say, asked before burn touches them: cubecl panics deep inside where one of them is missing.

use cudarc::driver::result::{DriverError, device, init};

/// The driver's GPUs by name, in its order; without a driver that works, why not.
pub fn gpus() -> Result<Vec<String>, String> {
    // SAFETY: opens the driver's library and closes it again; its initialisers may run in any process.
    if !unsafe { cudarc::driver::sys::is_culib_present() } {
        return Err("the loader cannot open it".into());
    }
    let names = || -> Result<Vec<String>, DriverError> {
        init()?;
        let count = device::get_count()?;
        (0..count)
            .map(|index| device::get_name(device::get(index)?))
            .collect()
    };
    names().map_err(|error| error.to_string())
}

/// Whether the loader can open the run-time compiler, NVRTC.
pub fn has_compiler() -> bool {
    // SAFETY: opens the compiler's library and closes it again; its initialisers may run in any process.
    unsafe { cudarc::nvrtc::sys::is_culib_present() }
}
