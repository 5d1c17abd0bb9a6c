#!/usr/bin/env bash
# Runs a command as a user of this machine who has just logged in: with a home, a runtime directory, a service manager of
# theirs (`systemd --user`), a session bus and a journal. The machine need not be run by systemd itself. As root:
#   user-session.sh COMMAND...
# The user and everything that they have started is gone afterwards; the command's exit code is kept.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "user-session.sh: must be run as root" >&2; exit 1; }

if [ "${ACT_SESSION:-}" != inside ]; then
  # Mounts of its own, which vanish with the last process.
  ACT_SESSION=inside exec unshare --mount --propagation private -- "$0" "$@"
fi

user=actuser$$
home=$(mktemp -d /tmp/act-home-XXXXXX)
useradd --no-create-home --home-dir "$home" --shell /bin/bash "$user"
uid=$(id -u "$user")
cp -rT /etc/skel "$home"
chown -R "$user:" "$home"
chmod 755 "$home"

# What tells programs that systemd is here, and where the journal listens.
mkdir -p /run/systemd
mount -t tmpfs -o mode=755 tmpfs /run/systemd
# unit-root: where a manager builds the file systems of services; the machine's own systemd makes it early.
mkdir -p /run/systemd/system /run/systemd/journal /run/systemd/unit-root
mkdir -p /run/log
mount -t tmpfs -o mode=755 tmpfs /run/log
mkdir -p /run/log/journal
mkdir -p /var/log/journal
mount -t tmpfs -o mode=755 tmpfs /var/log/journal
runtime=/run/user/$uid
mkdir -p /run/user
mount -t tmpfs -o mode=755 tmpfs /run/user
mkdir "$runtime"
mount -t tmpfs -o "mode=700,uid=$uid" tmpfs "$runtime"

# A control group of the user's own: the second hierarchy where there are both, else the only one.
root=/sys/fs/cgroup
[ -e $root/cgroup.controllers ] || root=/sys/fs/cgroup/unified
# The names by which the journal knows whose line it is.
group=$root/user.slice/user-$uid.slice
service=$group/user@$uid.service
mkdir -p "$service"
chown -R "$user" "$service"

# Users read their own journals where these are kept in files of their own.
touch /run/systemd/journal/flushed
/lib/systemd/systemd-journald >/dev/null 2>&1 &
journald=$!

finish() {
  code=$?
  trap - EXIT
  [ -z "${manager:-}" ] || kill "$manager" 2>/dev/null || true
  # What the manager has left, if it has not ended by itself.
  for _ in $(seq 100); do pgrep -u "$user" >/dev/null || break; sleep 0.1; done
  pkill -KILL -u "$user" 2>/dev/null || true
  kill "$journald" 2>/dev/null || true
  echo $$ >"$root/cgroup.procs"
  for _ in $(seq 50); do pgrep -u "$user" >/dev/null || break; sleep 0.1; done
  find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
  userdel "$user" 2>/dev/null || true
  rm -rf "$home"
  exit "$code"
}
trap finish EXIT

as_user=(setpriv --reuid "$uid" --regid "$(id -g "$user")" --init-groups --inh-caps=-all --
  env -i HOME="$home" USER="$user" LOGNAME="$user" SHELL=/bin/bash LANG=C.UTF-8
  PATH=/usr/local/bin:/usr/bin:/bin XDG_RUNTIME_DIR="$runtime"
  DBUS_SESSION_BUS_ADDRESS="unix:path=$runtime/bus")

(
  echo "$BASHPID" >"$service/cgroup.procs"
  exec "${as_user[@]}" /lib/systemd/systemd --user >"$home/manager.log" 2>&1
) &
manager=$!
for _ in $(seq 300); do
  state=$("${as_user[@]}" systemctl --user is-system-running 2>/dev/null || true)
  case $state in running | degraded) break ;; esac
  sleep 0.1
done
case $state in
  running | degraded) ;;
  *) echo "user-session.sh: the user's service manager does not start: $state" >&2; cat "$home/manager.log" >&2; exit 1 ;;
esac
mkdir "$group/session-1.scope"
echo $$ >"$group/session-1.scope/cgroup.procs"
cd "$home"
"${as_user[@]}" "$@"
