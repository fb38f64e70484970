#!/bin/sh
# Build the environment of the image's cpu target, in its Dockerfile only:
#
#     SGLANG_VERSION=... SOURCE_DATE_EPOCH=... [TORCH_INDEX=URL] requirements/image.sh FOLDER
#
# The locked version installs from the lock. Any other is resolved now, with the same cuts.
# TORCH_INDEX is a package index that has CPU builds of torch, of the same versions.
# Sources get the time that they are to have before they are compiled, since each `.pyc` file
# holds the time of its source.
set -eu
cd "$(dirname "$0")/.."
uv=.tools/bin/uv python=$1/bin/python

install() { "$uv" pip install --python "$python" "$@"; }

use_cpu_torch() {
    versions=$("$uv" pip freeze --python "$python" | grep -E '^torch(|vision|audio|codec)==')
    "$uv" pip freeze --python "$python" | sed -n 's/^\(nvidia-.*\)==.*/\1/p' | grep -v '^nvidia-ml-py$' |
        xargs "$uv" pip uninstall --python "$python"
    # shellcheck disable=SC2086 # one word a package
    install --no-deps --reinstall --index-url "$TORCH_INDEX" $versions
}

"$uv" venv --python python3 "$1"
if grep -q "^sglang==$SGLANG_VERSION " requirements/server.txt; then
    install --no-deps --require-hashes -r requirements/server.txt
else
    install --overrides requirements/cpu-overrides.txt \
        "sglang==$SGLANG_VERSION" dill
fi
[ -z "${TORCH_INDEX:-}" ] || use_cpu_torch
find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
"$python" requirements/compile.py
"$python" requirements/shrink.py
