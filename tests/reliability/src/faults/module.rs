// SPDX-License-Identifier: CECILL-B
//! The module itself: loading it, with and without parameters, and unloading it.

use knem_conformance::device::Knem;

use crate::module::Module;
use crate::nth::Nth;

super::scenarios![unload_the_module, load_the_module];

fn unload_the_module(nth: &Nth) {
    let module = Module::find();
    nth.call(Module::unload);
    module.load().expect("it loads");
    Knem::open().info();
}

fn load_the_module(nth: &Nth) {
    let module = Module::find();
    Module::unload().expect("no process uses it");
    // There is nothing of the driver to compare meanwhile.
    if nth.attempt_consuming(|| module.load()).is_err() {
        module.load().expect("it loads when it is repeated");
    }
    Knem::open().info();
}
