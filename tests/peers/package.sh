#!/usr/bin/env bash
# The Debian package in its life: installed, used as a service by a user who has nothing else, upgraded under a running
# daemon, removed, purged. As root, on a machine that has no package of actd yet:
#   package.sh DIRECTORY-OF-ACT-SANDBOX PACKAGE.deb NEWER-PACKAGE.deb
set -euo pipefail
trap 'echo "package.sh: line $LINENO: $BASH_COMMAND" >&2' ERR

if [ "$(id -u)" = 0 ]; then
  here=$(cd "$(dirname "$0")" && pwd)
  copy=$(mktemp -d /tmp/act-package-XXXXXX)
  trap 'rm -rf "$copy"; dpkg --purge actd >/dev/null 2>&1 || true' EXIT
  chmod 777 "$copy"
  cp "$1/act-sandbox" "$0" "$2" "$3" "$copy/"
  chmod -R a+rX "$copy"
  first=$copy/$(basename "$2")
  second=$copy/$(basename "$3")
  apt-get install -y -qq --no-install-recommends "$first" >/dev/null
  [ "$(command -v actd)$(command -v actctl)" = /usr/bin/actd/usr/bin/actctl ]
  for file in man/man1/actctl.1.gz bash-completion/completions/actctl zsh/vendor-completions/_actctl \
    fish/vendor_completions.d/actctl.fish doc/actd/copyright; do
    [ -s "/usr/share/$file" ] || { echo "package.sh: /usr/share/$file is missing" >&2; exit 1; }
  done
  bash -n /usr/share/bash-completion/completions/actctl
  files=$(dpkg -L actd)
  # The newer one, when the user says so.
  (
    for _ in $(seq 1200); do [ ! -e "$copy/upgrade" ] || break; sleep 0.1; done
    dpkg --install "$second" >"$copy/dpkg.log" 2>&1 && touch "$copy/upgraded"
  ) &
  "$here/user-session.sh" env PATH=/usr/bin:/bin bash "$copy/package.sh" "$copy"
  wait
  dpkg --remove actd >/dev/null
  [ ! -e /usr/bin/actd ] && [ ! -e /usr/lib/systemd/user/actd.socket ]
  dpkg --purge actd >/dev/null
  for file in $files; do
    [ -d "$file" ] && [ "$(basename "$file")" != actd ] || [ ! -e "$file" ] || { echo "package.sh: $file is left" >&2; exit 1; }
  done
  exit
fi

copy=$1
fail() {
  trap - ERR
  echo "package.sh: $*" >&2
  cat "$copy/dpkg.log" >&2 2>/dev/null || true
  journalctl --user --unit actd.service --no-pager --lines 40 >&2 || true
  exit 1
}
await() {
  local what=$1
  shift
  for _ in $(seq 600); do
    if "$@" >"$HOME/last" 2>&1; then return; fi
    sleep 0.1
  done
  fail "waited a minute for: $what"
}
"$copy/act-sandbox" serve --json --dir "$HOME/sandbox" >"$HOME/sandbox.json" 2>"$HOME/sandbox.log" &
sandbox=$!
trap 'kill $sandbox 2>/dev/null' EXIT
await "the sandbox" test -s "$HOME/sandbox.json"
fact() { python3 -c 'import json,sys; v=json.load(open(sys.argv[1]))[sys.argv[2]]; print(v[0] if type(v) is list else v)' "$HOME/sandbox.json" "$1"; }

# The service first, the configuration afterwards: a newcomer may do it in either order.
said=$(actctl daemon install 2>&1) || fail "install: $said"
grep -qF "in /usr/lib/systemd/user are enabled" <<<"$said" || fail "not the package's units: $said"
grep -qF "once $HOME/.config/act-client/config.yaml has a line" <<<"$said" || fail "no word of the configuration: $said"
[ ! -e "$HOME/.config/systemd/user/actd.service" ] || fail "a copy of the package's unit"
mkdir -p "$HOME/.config/act-client"
cat >"$HOME/.config/act-client/config.yaml" <<EOF
server: $(fact server)
proxy: $(fact proxy)
clusters:
  default:
    - $(fact clusters)
actd:
  ca_dir: $(fact ca_dir)
  poll_min: 200ms
  min_free_disk: 1MB
EOF
actctl proxy
mkdir "$HOME/inbox"
actctl dir add "$HOME/inbox"
job() { printf '&(executable=/bin/sh)(arguments="-c" "echo %s")(stdout=out)(jobname=%s)(walltime=5)\n' "$1" "$1"; }
job first >"$HOME/inbox/first.xrsl"
await "results" grep -rqx first --include=out "$HOME/inbox/results"

touch "$copy/upgrade"
await "the upgrade" test -e "$copy/upgraded"
# The daemon of before goes on until it is restarted, with the directory that it watches.
job second >"$HOME/inbox/second.xrsl"
await "results" grep -rqx second --include=out "$HOME/inbox/results"
pid=$(systemctl --user show actd.service --property=MainPID --value)
actctl daemon restart
[ "$(systemctl --user show actd.service --property=MainPID --value)" != "$pid" ] || fail "it was not restarted"
[ "$(systemctl --user show actd.service --property=MainPID --value)" != 0 ] || fail "the service does not run"
actctl dir list | grep -q inbox || fail "the directory is forgotten"
actctl daemon uninstall
