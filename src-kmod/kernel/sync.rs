// SPDX-License-Identifier: GPL-2.0-only
//! Types that tasks share.

mod arc;
pub mod aref;
pub mod atomic;
mod lock;
mod set_once;

pub use crate::global_lock;
pub use arc::{Arc, ArcBorrow};
#[doc(hidden)]
pub use lock::{Global, LockClass, MutexBackend, SpinLockBackend};
pub use lock::{Mutex, SpinLock};
pub use set_once::SetOnce;
