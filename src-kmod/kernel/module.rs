// SPDX-License-Identifier: GPL-2.0-only
//! Loading and unloading a module.

use crate::error::Result;

/// The module, as passed to its `init`. The driver does not use it.
pub struct ThisModule(());

impl ThisModule {
    #[doc(hidden)]
    pub const __NEW: Self = Self(());
}

/// A type from which `module!` builds a kernel module.
pub trait Module: Sized + Send + Sync {
    /// Loads the module. Dropping the value unloads it.
    ///
    /// # Errors
    /// The reason why it cannot be loaded.
    fn init(module: &'static ThisModule) -> Result<Self>;
}

/// Declares the module: its type, its name (the prefix of its log lines), and what `modinfo` prints.
///
/// `standin.c` calls the two functions from `module_init` and `module_exit`.
#[macro_export]
macro_rules! module {
    (
        type: $type:ty, name: $name:literal, authors: [$author:literal], description: $description:literal,
        license: $license:literal $(,)?
    ) => {
        pub(crate) const __LOG_PREFIX: &str = concat!($name, ": ");

        const __MODINFO: &str =
            concat!("license=", $license, "\0author=", $author, "\0description=", $description, "\0");
        #[no_mangle]
        #[link_section = ".modinfo"]
        static standin_modinfo: [u8; __MODINFO.len()] = {
            let mut bytes = [0; __MODINFO.len()];
            let mut at = 0;
            while at < bytes.len() {
                bytes[at] = __MODINFO.as_bytes()[at];
                at += 1;
            }
            bytes
        };

        static mut __MODULE: core::mem::MaybeUninit<$type> = core::mem::MaybeUninit::uninit();

        #[no_mangle]
        extern "C" fn standin_load() -> core::ffi::c_int {
            static THIS: $crate::ThisModule = $crate::ThisModule::__NEW;
            match <$type as $crate::Module>::init(&THIS) {
                Ok(module) => {
                    // SAFETY: C calls this once, from `module_init`; nothing else accesses the static before it
                    // returns.
                    unsafe { (&raw mut __MODULE).write(core::mem::MaybeUninit::new(module)) };
                    0
                }
                Err(error) => error.to_errno(),
            }
        }

        #[no_mangle]
        extern "C" fn standin_unload() {
            // SAFETY: C calls this once, from `module_exit`, which runs only if `standin_load` has returned 0.
            unsafe { core::ptr::drop_in_place((&raw mut __MODULE).cast::<$type>()) }
        }
    };
}

/// Kills the calling task, as BUG() does. The driver has no reachable panic: `cargo xtask object` searches for the
/// symbols that one would need.
#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: The instruction is undefined. The kernel handles it as an oops of the calling task, and objtool knows
    // that it does not return.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        core::arch::asm!("ud2", options(noreturn));
        #[cfg(target_arch = "aarch64")]
        core::arch::asm!("brk #0x800", options(noreturn));
    }
}
