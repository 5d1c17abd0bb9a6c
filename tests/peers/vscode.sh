#!/bin/sh
# Builds the VS Code extension in DIR, and installs a VS Code there that runs without a screen (code-server, from npm) with what
# drives it. Prints nothing; ready when DIR/.complete is there. Needs node 20 with its headers, make, g++, python3, ripgrep.
set -eu
dir=${1:?usage: vscode.sh DIR}
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$dir/extension"
cp -r "$root/actctl/editors/vscode/." "$dir/extension/"
(cd "$dir/extension" && npm ci --silent --no-audit --no-fund --ignore-scripts && npm run --silent package) >"$dir/extension.log" 2>&1 ||
    { cat "$dir/extension.log" >&2; exit 1; }
[ ! -e "$dir/.complete" ] || exit 0
cd "$dir"
exec 3>&2 >"$dir/setup.log" 2>&1
trap '[ $? = 0 ] || tail -n 50 "$dir/setup.log" >&3' EXIT
npm init -y
npm install --ignore-scripts --no-audit --no-fund code-server@4.99.4 playwright-core@1.65.1
# Without the native module code-server does not start; npm's own way to build it asks for what is not there.
(cd node_modules/argon2 && ../.bin/node-pre-gyp rebuild --build-from-source --nodedir="${NODEDIR:-/usr}")
cd node_modules/code-server/lib/vscode
# Not `ci`: its list of versions lacks one.
npm install --ignore-scripts --omit=dev --no-audit --no-fund
gyp=$(npm root -g)/npm/node_modules/node-gyp/bin/node-gyp.js
for module in native-watchdog @vscode/spdlog node-pty; do
    (cd "node_modules/$module" && node "$gyp" rebuild -j 2 --nodedir="${NODEDIR:-/usr}")
done
mkdir -p node_modules/@vscode/ripgrep/bin
ln -sf "$(command -v rg)" node_modules/@vscode/ripgrep/bin/rg
ln -sfn node_modules node_modules.asar
touch "$dir/.complete"
