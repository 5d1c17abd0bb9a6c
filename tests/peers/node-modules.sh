#!/bin/sh
# Prints the directory of npm packages that tests of the API need, after installing them below DIR if need be. Several
# test processes may call it at once.
set -eu
dir=${1:?usage: node-modules.sh DIR}
mkdir -p "$dir"
exec 9>"$dir/.lock"
flock 9
if ! [ -e "$dir/.complete" ]; then
    npm install --silent --no-audit --no-fund --prefix "$dir" vscode-jsonrpc@8.2.1 ws@8.18.3 >&2
    touch "$dir/.complete"
fi
echo "$dir/node_modules"
