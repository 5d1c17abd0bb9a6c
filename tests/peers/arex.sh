#!/bin/bash
# A real computing element for tests: ARC's A-REX with fork jobs on this machine, trusting the sandbox's PKI.
#
#   arex.sh start DIR PKI PORT    starts it; DIR (new or empty, below /tmp) holds all it writes; prints its URL when it answers
#   arex.sh stop DIR              stops it; DIR stays, with the logs
#
# PKI is a directory made by `act-sandbox` (or `cargo run -p act-sandbox --example pki`). Jobs of any user of that PKI run as
# `nobody`, so the ways to DIR and PKI must be open to everyone. Needs root and the Debian packages nordugrid-arc-arex and
# nordugrid-arc-plugins-needed. A-REX listens on all interfaces: do not leave it running on a machine others can reach.
set -euo pipefail

fail() {
    echo "arex.sh: $*" >&2
    exit 1
}

start() {
    local dir=$1 pki=$2 port=$3
    [ -x /usr/share/arc/arc-arex-ws-start ] || fail "A-REX is not installed: apt-get install nordugrid-arc-arex nordugrid-arc-plugins-needed"
    [ -r "$pki/host/cert.pem" ] || fail "no PKI of the sandbox in $pki"
    mkdir -p "$dir"/{control,session,log,run,tmp}
    # Where there are none, A-REX makes Diffie-Hellman parameters of its own: minutes of a core. A named group takes none.
    (umask 0177; openssl genpkey -genparam -algorithm DH -pkeyopt group:ffdhe4096 -out "$dir/control/dhparam.pem")
    chmod 755 "$dir"
    chmod 1777 "$dir/session" "$dir/tmp"
    cat > "$dir/arc.conf" <<CONF
[common]
hostname = localhost
x509_host_key = $pki/host/key.pem
x509_host_cert = $pki/host/cert.pem
x509_cert_dir = $pki/certificates
x509_voms_dir = $pki/vomsdir
[authgroup:all]
all = yes
[mapping]
map_to_user = all nobody:nogroup
[lrms]
lrms = fork
[arex]
controldir = $dir/control
sessiondir = $dir/session
tmpdir = $dir/tmp
logfile = $dir/log/arex.log
pidfile = $dir/run/arched-arex.pid
joblog = $dir/log/jobs.log
wakeupperiod = 2
maxtransfertries = 2
[arex/ws]
wsurl = https://localhost:$port/arex
logfile = $dir/log/ws.log
pidfile = $dir/run/arched-arex-ws.pid
[arex/ws/jobs]
allowaccess = all
[infosys]
logfile = $dir/log/infoprovider.log
[infosys/glue2]
[infosys/cluster]
[queue:fork]
CONF
    local one
    for one in arex arex-ws; do
        ARC_CONFIG=$dir/arc.conf TMPDIR=$dir/tmp "/usr/share/arc/arc-$one-start" > "$dir/log/$one-start.log" 2>&1 ||
            fail "arc-$one did not start; see $dir/log/$one-start.log"
    done
    local status try
    for try in $(seq 60); do
        status=$(curl -q -s -o /dev/null -w '%{http_code}' --noproxy '*' --max-time 10 --cacert "$pki/certificates/ca.pem" \
            "https://localhost:$port/arex/rest/1.0/info" || true)
        [ "$status" != 000 ] && break
        sleep 1
    done
    [ "$status" != 000 ] || fail "nothing answers at port $port; see $dir/log"
    echo "https://localhost:$port/arex"
}

stop() {
    local dir=$1 file pid try
    for file in "$dir"/run/arched-arex-ws.pid "$dir"/run/arched-arex.pid; do
        [ -r "$file" ] || continue
        pid=$(cat "$file")
        kill "$pid" 2>/dev/null || continue
        for try in $(seq 50); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.2
        done
        kill -9 "$pid" 2>/dev/null || true
        rm -f "$file"
    done
}

case "${1-} $#" in
    "start 4") start "$(realpath -m "$2")" "$(realpath "$3")" "$4" ;;
    "stop 2") stop "$(realpath -m "$2")" ;;
    *) fail "usage: arex.sh start DIR PKI PORT | stop DIR" ;;
esac
