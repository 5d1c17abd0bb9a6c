#!/usr/bin/env bash
# The daemon as a service of a real user's service manager: installed, activated, hung, killed, stopped, uninstalled.
# As root: service.sh DIRECTORY-OF-PROGRAMS
set -euo pipefail

if [ "$(id -u)" = 0 ]; then
  here=$(cd "$(dirname "$0")" && pwd)
  copy=$(mktemp -d /tmp/act-service-XXXXXX)
  trap 'rm -rf "$copy"' EXIT
  # Where any user can read them, whatever directory this was checked out into.
  chmod 755 "$copy"
  mkdir "$copy/bin"
  cp "$1/actd" "$1/actctl" "$1/act-sandbox" "$copy/bin/"
  cp "$0" "$copy/service.sh"
  chmod -R a+rX "$copy"
  "$here/user-session.sh" env PATH="$copy/bin:/usr/bin:/bin" bash "$copy/service.sh"
  exit
fi

fail() {
  trap - ERR
  echo "service.sh: $*" >&2; [ -z "${said:-}" ] || echo "$said" >&2
  systemctl --user --no-pager status actd.service actd.socket >&2 || true
  journalctl --user --unit actd.service --no-pager --lines 40 >&2 || true
  exit 1
}
set -E
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR
say() { echo "-- $*"; }
# await WHAT COMMAND...: until it succeeds, a minute at most.
await() {
  local what=$1
  shift
  for _ in $(seq 600); do
    if "$@" >"$HOME/last" 2>&1; then return; fi
    sleep 0.1
  done
  cat "$HOME/last" >&2
  fail "waited a minute for: $what"
}
show() { systemctl --user show actd.service --property="$1" --value; }
pid_is_new() { local now; now=$(show MainPID); [ "$now" != 0 ] && [ "$now" != "$1" ]; }
has() { grep -qF -- "$2" <<<"$1" || fail "no \`$2\` in: $1"; }

act-sandbox serve --json --dir "$HOME/sandbox" >"$HOME/sandbox.json" 2>"$HOME/sandbox.log" &
sandbox=$!
trap 'kill $sandbox 2>/dev/null' EXIT
await "the sandbox" test -s "$HOME/sandbox.json"
fact() { python3 -c 'import json,sys; v=json.load(open(sys.argv[1]))[sys.argv[2]]; print(v[0] if type(v) is list else v)' "$HOME/sandbox.json" "$1"; }
mkdir -p "$HOME/.config/act-client" "$HOME/inbox"
config=$HOME/.config/act-client/config.yaml
# In /tmp, as proxies are: a service with a /tmp of its own would not see it.
proxy=/tmp/act-service-proxy-$(id -u)
install -m 600 "$(fact proxy)" "$proxy"
trap 'kill $sandbox 2>/dev/null; rm -f "$proxy"' EXIT
cat >"$config" <<EOF
server: $(fact server)
proxy: $proxy
clusters:
  default:
    - $(fact clusters)
actd:
  ca_dir: $(fact ca_dir)
  poll_min: 200ms
  poll_max: 500ms
  min_free_disk: 1MB
  dirs:
    - ~/inbox
EOF
job() { printf '&(executable=/bin/sh)(arguments="-c" "%s")(stdout=out)(stderr=err)(jobname=%s)(walltime=5)\n' "$2" "$1"; }

say "a daemon that actctl has started makes way for the service"
actctl stat
actctl daemon status | grep -q '^instance' || fail "no daemon of actctl's"
said=$(actctl daemon install 2>&1) || fail "install: $said"
has "$said" "The service takes its place."
has "$said" "loginctl enable-linger"
pid=$(show MainPID)
[ "$pid" != 0 ] || fail "the service does not run"
has "$(actctl daemon status)" "(pid $pid,"
has "$(show ActiveState) $(show StatusText)" "active"
[ "$(stat -c %a "$XDG_RUNTIME_DIR/actd")" = 700 ] || fail "the socket's directory is open"
[ "$(stat -c %a "$XDG_RUNTIME_DIR/actd/default.sock")" = 600 ] || fail "the socket is open"
has "$(actctl daemon install 2>&1)" "The daemon runs"

say "the first command activates it"
pid=$(show MainPID)
actctl daemon stop
[ "$(show MainPID)" = 0 ] || fail "it still runs"
if actctl daemon status; then fail "status must not start it"; fi
has "$(actctl daemon list)" "no"
[ "$(show MainPID)" = 0 ] || fail "status or list has started it"
actctl stat
pid_is_new "$pid" || fail "it was not activated"

say "a command that follows it goes on after a restart, and does not activate what was stopped"
connected() { [ "$(grep -c 'connected to' "$HOME/follower")" -ge "$1" ]; }
ACTCTL_DAEMON_WAIT=5m actctl -v events 2>"$HOME/follower" &
follower=$!
await "a follower" connected 1
systemctl --user restart actd.service
await "the follower of the next one" connected 2
kill "$follower"
ACTCTL_DAEMON_WAIT=1 actctl -v events 2>"$HOME/follower" &
follower=$!
await "a follower" connected 1
systemctl --user stop actd.service
if wait "$follower"; then fail "it has not noticed"; else code=$?; fi
[ "$code" = 8 ] || fail "exit code $code: $(cat "$HOME/follower")"
[ "$(show MainPID)" = 0 ] || fail "the follower has activated it"
actctl stat

say "hardening is in force"
pid=$(show MainPID)
in_status() { grep -qxP "$1:\t$2" "/proc/$pid/status" || fail "$1 is $(grep "^$1:" "/proc/$pid/status")"; }
in_status NoNewPrivs 1
in_status Seccomp 2
in_status CapBnd 0000000000000000
in_status CapEff 0000000000000000
in_status Umask 0077
grep -q '^Max core file size  *0  *0 ' "/proc/$pid/limits" || fail "core dumps are allowed"
# The same unit around a program that tries what is forbidden, and what the daemon and its hooks must be able to do.
cat >"$HOME/probe.py" <<'EOF'
import ctypes, mmap, os, socket, subprocess, sys, tempfile
bad = []
def refused(what, attempt):
    try:
        attempt()
    except (OSError, PermissionError):
        return
    bad.append(what + " is possible")
def works(what, attempt):
    try:
        attempt()
    except Exception as e:
        bad.append(f"{what}: {e}")
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    if getattr(libc, name)(*args) == -1:
        raise OSError(ctypes.get_errno(), name)
def execute(*args):
    return subprocess.run(args, check=True, capture_output=True)
refused("writing to /usr", lambda: open("/usr/probe", "w"))
refused("writing to /boot", lambda: open("/boot/probe", "w"))
refused("a raw device", lambda: open("/dev/vda", "rb") if os.path.exists("/dev/vda") else open("/dev/mem", "rb"))
refused("a packet socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
refused("a netlink socket", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
refused("a namespace", lambda: call("unshare", 0x10000000))
refused("real-time scheduling", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
refused("the host's name", lambda: call("sethostname", b"x", 1))
refused("mounting", lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None))
refused("the kernel's log", lambda: call("klogctl", 3, ctypes.create_string_buffer(64), 64))
refused("a module", lambda: call("syscall", 175, None, 0, b""))
refused("the clock", lambda: call("settimeofday", ctypes.create_string_buffer(16), None))
def personality():
    call("personality", 0x0008)
refused("another personality", personality)
fd, path = tempfile.mkstemp(dir=os.environ["HOME"])
refused("a set-user-ID file", lambda: os.chmod(path, 0o4755))
works("writing to the home", lambda: os.write(fd, b"x"))
works("reading the proxy in /tmp", lambda: open(sys.argv[1]).read())
works("writing to /tmp", lambda: tempfile.TemporaryFile(dir="/tmp").write(b"x"))
works("other programs", lambda: execute("openssl", "version"))
works("a shell", lambda: execute("sh", "-c", "echo x | cat >/dev/null"))
works("a Unix socket", lambda: socket.socket(socket.AF_UNIX))
works("an IPv6 socket", lambda: socket.socket(socket.AF_INET6))
print("\n".join(bad))
sys.exit(bool(bad))
EOF
units=$HOME/.config/systemd/user
sed -e "s#^ExecStart=.*#ExecStart=/usr/bin/python3 $HOME/probe.py $proxy#" -e 's/^Type=.*/Type=oneshot/' \
  -e '/^Restart/d' -e '/^Requires=/d' -e '/^After=/d' -e '/^WatchdogSec=/d' "$units/actd.service" >"$units/probe.service"
systemctl --user daemon-reload
systemctl --user start probe.service || { journalctl --user --unit probe.service --no-pager >&2; fail "hardening"; }
rm "$units/probe.service"

say "a file in a watched directory becomes results"
job dropped 'echo dropped' >"$HOME/inbox/dropped.xrsl"
await "results" grep -rqx dropped --include=out "$HOME/inbox/results"
result=$(grep -rlx dropped --include=out "$HOME/inbox/results")
[ "$(stat -c %a "$result")" = $(printf %o $((0666 & ~$(umask)))) ] || fail "not made as the user's files are: $(stat "$result")"

say "killed, it is started again, and work goes on"
job long 'echo begun; sleep 3; echo ended' >"$HOME/long.xrsl"
actctl sub "$HOME/long.xrsl"
pid=$(show MainPID)
kill -KILL "$pid"
await "a new process" pid_is_new "$pid"
await "results of the job" grep -rqx ended --include=out "$HOME/act-results"

say "a daemon that hangs is caught by the watchdog"
mkdir -p "$units/actd.service.d"
printf '[Service]\nWatchdogSec=2\n' >"$units/actd.service.d/test.conf"
systemctl --user daemon-reload
systemctl --user restart actd.service
pid=$(show MainPID)
kill -STOP "$pid"
await "a new process" pid_is_new "$pid"
actctl stat
rm "$units/actd.service.d/test.conf"
systemctl --user daemon-reload
systemctl --user reset-failed actd.service
systemctl --user restart actd.service

say "notifications come to the desktop, and hooks run under the hardening"
cat >"$HOME/desktop.py" <<'EOF'
import dbus, dbus.service
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib
DBusGMainLoop(set_as_default=True)
bus = dbus.SessionBus()
name = dbus.service.BusName("org.freedesktop.Notifications", bus)
class Desktop(dbus.service.Object):
    @dbus.service.method("org.freedesktop.Notifications", in_signature="susssasa{sv}i", out_signature="u")
    def Notify(self, app, replaces, icon, title, text, actions, hints, timeout):
        print(f"{app}: {title}: {text}", flush=True)
        return 1
Desktop(bus, "/org/freedesktop/Notifications")
print("ready", flush=True)
GLib.MainLoop().run()
EOF
/usr/bin/python3 "$HOME/desktop.py" >"$HOME/desktop.log" 2>&1 &
desktop=$!
await "the desktop" grep -q ready "$HOME/desktop.log"
cat >>"$config" <<EOF
  notify: job
  on_done: [sh, -c, 'echo "\$ACTD_JOB_NAME in \$ACTD_RESULTS" >>~/told']
EOF
await "the configuration of now" sh -c "actctl config show | grep -q 'actd.notify.*job'"
job '--loud;x' 'true' >"$HOME/loud.xrsl"
actctl sub --batch shown "$HOME/loud.xrsl"
await "a notification of the job" grep -qF -- "actd: Job --loud;x: done:" "$HOME/desktop.log"
await "a notification of the batch" grep -qF "actd: Batch shown has ended: 1 jobs: 1 done, 0 failed" "$HOME/desktop.log"
await "what the hook has written" grep -q "^--loud;x in /" "$HOME/told"
kill "$desktop"

say "it stops in time, in the middle of work"
job slow 'sleep 600' >"$HOME/slow.xrsl"
actctl sub "$HOME/slow.xrsl"
begin=$SECONDS
systemctl --user stop actd.service
[ $((SECONDS - begin)) -lt 30 ] || fail "it took $((SECONDS - begin)) s to stop"
[ "$(show Result)" = success ] || fail "it was stopped by force: $(show Result)"
actctl kill -a

say "its socket comes back when the path vanishes"
pid=$(show MainPID)
rm -r "$XDG_RUNTIME_DIR/actd"
has "$(actctl daemon status)" "(pid $pid,"
[ -S "$XDG_RUNTIME_DIR/actd/default.sock" ] || fail "the socket is not at its path"
say "and is found without the environment"
has "$(env -u XDG_RUNTIME_DIR actctl daemon status)" "(pid $pid,"
say "and is the service's again when the daemon has died with it, or has been stopped without it"
kill -KILL "$pid"
actctl stat
pid_is_new "$pid" || fail "it is not the service"
pid=$(show MainPID)
rm -r "$XDG_RUNTIME_DIR/actd"
systemctl --user stop actd.service
actctl stat
pid_is_new "$pid" || fail "it is not the service"
[ -S "$XDG_RUNTIME_DIR/actd/default.sock" ] || fail "the socket is not at its path"

say "configuration is read again, and a bad one is not taken"
cp "$config" "$HOME/good.yaml"
sed -i 's/^clusters:/clusters:\n  other: https:\/\/other.example.org\/q/' "$config"
systemctl --user reload actd.service
await "the new group" sh -c "actctl config show | grep -q other.example.org"
cp "$HOME/good.yaml" "$config"
echo '  poll_min: [' >>"$config"
pid=$(show MainPID)
systemctl --user reload actd.service || true
await "words in the log" sh -c "actctl daemon logs --lines 20 | grep -q 'the configuration is not changed'"
[ "$(show MainPID)" = "$pid" ] || fail "a bad configuration ended it"
systemctl --user stop actd.service
said=$(actctl stat 2>&1) && fail "a bad configuration is no error" || code=$?
[ "$code" = 2 ] || fail "exit code $code: $said"
has "$said" "config.yaml:"
cp "$HOME/good.yaml" "$config"
systemctl --user is-active --quiet actd.socket || fail "the socket has given up"
actctl stat
[ "$(show MainPID)" != 0 ] || fail "actctl has started one of its own"

say "the log is in the journal"
has "$(actctl daemon logs --lines 500)" "listening at"
actctl daemon logs -f --lines 1 >"$HOME/followed" &
follower=$!
systemctl --user reload actd.service
await "a new line" grep -q "the configuration was read again" "$HOME/followed"
kill "$follower"

say "uninstalled, nothing of it is left"
actctl daemon uninstall
[ ! -e "$units/actd.service" ] && [ ! -e "$units/actd.socket" ] || fail "units are left"
[ "$(systemctl --user is-enabled actd.socket 2>/dev/null || true)" != enabled ] || fail "it is still enabled"
actctl stat
actctl daemon stop
has "$(actctl daemon uninstall 2>&1)" "No service is installed."

say "without a service manager it says what to do"
said=$(env -u XDG_RUNTIME_DIR -u DBUS_SESSION_BUS_ADDRESS actctl daemon install 2>&1) && fail "no error" || code=$?
[ "$code" = 6 ] || fail "exit code $code: $said"
has "$said" "@reboot"
say "well"
