# SPDX-License-Identifier: CECILL-B
import os

from spack.package import *

try:
    # In Spack 1.0 and newer the build systems are in the package repository.
    from spack_repo.builtin.build_systems.generic import Package
except ImportError:
    pass


class Knem(Package):
    """Command, header and pkg-config file of KNEM: single-copy transfers between the processes of a machine.
    Packages or knem_local_install install the module on each machine; nothing that Spack installs loads it.

    Spack looks for the tarball of `make dist` in the current directory and in its mirrors."""

    # address
    # /address
    url = f"file://{os.getcwd()}/knem-2.0.0.tar.gz"
    manual_download = True

    license("CECILL-B AND GPL-2.0-only")

    # Set the checksum of the tarball here: version("2.0.0", sha256="..."). Until then: spack install --no-checksum.
    version("2.0.0")

    depends_on("c", type="build")
    depends_on("gmake", type="build")
    depends_on("rust@1.85:", type="build")

    conflicts("platform=darwin")
    conflicts("platform=windows")

    def install(self, spec, prefix):
        make("build", f"PREFIX={prefix}")
        make("install", f"PREFIX={prefix}", "DESTDIR=")

    def test_version(self):
        """the command runs"""
        Executable(self.prefix.bin.knem)("--version")
