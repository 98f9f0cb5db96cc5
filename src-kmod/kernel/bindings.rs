// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's structures by name. Only C accesses their contents.
#![allow(non_camel_case_types)]

macro_rules! opaque {
    ($($name:ident),* $(,)?) => {
        $(
            /// The kernel's structure of this name. Rust handles pointers to it only.
            #[repr(C)]
            pub struct $name([u8; 0]);
        )*
    };
}

opaque!(cpumask, cred, file, mm_struct, page, pid, poll_table, seq_file, vm_area_struct);
