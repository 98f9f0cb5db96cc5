// SPDX-License-Identifier: CECILL-B
//! The tests of the rules, by subject.

/// Names the modules, in the order in which they are tested.
macro_rules! rules {
    ($($module:ident),* $(,)?) => {
        $(mod $module;)*

        /// Returns all tests.
        pub(crate) fn all() -> Vec<crate::runner::Trial> {
            [$($module::trials()),*].into_iter().flatten().collect()
        }
    };
}

rules![
    modes,
    commands,
    order,
    results,
    statistics,
    regions,
    cookies,
    single_use,
    access,
    copies,
    vectors,
    offsets,
    faults,
    kinds,
    limits,
    status_array,
    offload,
    events,
    old_commands,
    binding,
    closing,
    stalls,
    identity,
    quick,
    library,
    weaknesses,
    processes,
];
