#!/usr/bin/env bash
# Builds a wheel of the pinned learn2learn into FOLDER. Its shipped C files do not compile on Python 3.11 or newer, so they
# are made anew from its .pyx files. Usage: build_learn2learn.sh PYTHON FOLDER; PYTHON has requirements-bench.txt's Cython.
set -euo pipefail
python=$1 folder=$2
pin=$(grep -oE '^learn2learn==[0-9.]+' "$(dirname "$0")/../requirements-bench.txt")
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
pip=("$python" -m pip --quiet --disable-pip-version-check)
"${pip[@]}" download --no-deps --no-binary :all: --no-build-isolation --dest "$source" "$pin"
tar xzf "$source"/learn2learn-*.tar.gz --directory "$source"
"$python" -m cython -3 "$source"/learn2learn-*/learn2learn/data/*.pyx
"${pip[@]}" wheel --no-deps --no-build-isolation --wheel-dir "$folder" "$source"/learn2learn-*/
