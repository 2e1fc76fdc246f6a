# shellcheck shell=bash
# What all scripts share. To be sourced: it moves to the root of the repository and puts its tools on the PATH.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1

target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$root/$target ;; esac
tools=$target/tools
PATH=$tools/bin:$PATH
export PATH

# Bold and colour where somebody looks.
bold='' yellow='' red='' plain=''
if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\033[1m' yellow=$'\033[1;33m' red=$'\033[1;31m' plain=$'\033[0m'
fi

# Says what is done, and why.
say() { printf '%s==> %s%s\n' "$bold" "$*" "$plain" >&2; }

# Says what nobody should overlook.
warn() { printf '%s!!! %s%s\n' "$yellow" "$*" "$plain" >&2; }

# Says what is wrong and what to do, and stops.
die() {
    printf '%sERROR: %s%s\n' "$red" "$*" "$plain" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# need_apt WHY PACKAGE…: installs the Debian packages that are missing.
need_apt() {
    local why=$1 package missing=()
    shift
    if ! have dpkg-query || ! have apt-get; then
        die "missing on this system: $* ($why). Install them by its own package manager (the names here are Debian's) and run this again."
    fi
    for package in "$@"; do
        # shellcheck disable=SC2016  # the dollar is dpkg's
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0

    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || die "missing packages: ${missing[*]} ($why). As root: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    say "Installing ${missing[*]}: $why"
    local install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -q "${missing[@]}")
    "${install[@]}" >&2 || { "${as_root[@]}" apt-get update -q >&2 && "${install[@]}" >&2; } ||
        die "could not install ${missing[*]}: see above; then run this again"
}

# What a build needs beside Rust: the C parts (AWS-LC, SQLite, zstd, BLAKE3) are compiled from their crates.
need_build() {
    have cargo || die "cargo is missing: install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer (https://rustup.rs), with rustfmt and clippy"
    if ! have cc || ! echo '#include <stdlib.h>' | cc -E -x c - >/dev/null 2>&1; then
        need_apt "a C compiler and the C library's headers, for the parts of SQLite, zstd and AWS-LC" gcc libc6-dev
    fi
}

# need_tool COMMAND CRATE [LEVEL]: installs a program from crates.io into target/tools, by default quickly built rather
# than quick (optimisation level 1).
need_tool() {
    have "$1" && return 0
    say "Building $1 from crates.io into ${tools#"$root"/}; this takes some minutes, once"
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 CARGO_PROFILE_RELEASE_OPT_LEVEL="${3:-1}" \
        cargo install --locked --quiet --root "$tools" "$2" >&2 || die "could not build $1 (crate $2): see above"
}
