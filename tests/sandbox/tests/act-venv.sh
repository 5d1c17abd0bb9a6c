#!/bin/sh
# Prints the path of the Python client `act` 1.0.0, after installing it into DIR (a virtual environment) if need be.
# Several test processes may call it at once. ACT_PY_BIN names an installed one instead.
set -eu
dir=${1:?usage: act-venv.sh DIR}
if [ -n "${ACT_PY_BIN:-}" ]; then
    echo "$ACT_PY_BIN"
    exit 0
fi
mkdir -p "$dir"
exec 9>"$dir/.lock"
flock 9
if ! [ -e "$dir/.complete" ]; then
    python3 -m venv "$dir" >&2
    "$dir/bin/pip" install --quiet --disable-pip-version-check act-client==1.0.0 >&2
    touch "$dir/.complete"
fi
echo "$dir/bin/act"
