# SPDX-License-Identifier: CECILL-B
#
# nix-build --arg src ./knem-2.0.0.tar.gz -A tools      the command, the header and the pkg-config file
# nix-build --arg src ./knem-2.0.0.tar.gz -A module     the module for `kernel`; for boot.extraModulePackages of NixOS
#
# `make dist` builds the tarball, which includes the crates. The module is built on the kernel's own Rust crate
# (CONFIG_RUST): rustc of nixpkgs lacks the sources of its core library, which the object for other kernels needs. Only
# the syntax is checked: nixpkgs was not available to build it.
{
  pkgs ? import <nixpkgs> { },
  kernel ? pkgs.linuxPackages.kernel,
  src,
}:
let
  version = "2.0.0";
  common = {
    inherit version src;
    nativeBuildInputs = [
      pkgs.cargo
      pkgs.rustc
    ];
    preBuild = ''
      export CARGO_HOME="$PWD/cargo-home"
    '';
    installFlags = [
      "PREFIX=${placeholder "out"}"
      "DESTDIR="
    ];
  };
in
{
  tools = pkgs.stdenv.mkDerivation (
    common
    // {
      pname = "knem-tools";
      buildFlags = [ "build" ];
      meta.description = "Single-copy transfers between processes: command and header";
    }
  );

  module = pkgs.stdenv.mkDerivation (
    common
    // {
      pname = "knem-${kernel.modDirVersion}";
      nativeBuildInputs = common.nativeBuildInputs ++ kernel.moduleBuildDependencies;
      makeFlags = [
        "KVERSION=${kernel.modDirVersion}"
        "KDIR=${kernel.dev}/lib/modules/${kernel.modDirVersion}/build"
      ];
      postInstall = ''
        install -D -m 644 "$out/lib/modules/${kernel.modDirVersion}/knem.ko" \
          "$out/lib/modules/${kernel.modDirVersion}/extra/knem.ko"
        rm "$out/lib/modules/${kernel.modDirVersion}/knem.ko"
      '';
      meta.description = "Single-copy transfers between processes: driver for ${kernel.modDirVersion}";
    }
  );
}
