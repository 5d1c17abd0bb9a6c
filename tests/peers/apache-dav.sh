#!/bin/bash
# A WebDAV server that we did not write: Apache's mod_dav over TLS, which wants a client certificate of the sandbox's PKI
# and accepts proxies.
#
#   apache-dav.sh start DIR PKI PORT    starts it; DIR (below /tmp) holds all it writes; prints its base URL when it answers
#   apache-dav.sh stop DIR              stops it; DIR stays: the tree in DIR/dav, the logs in DIR/log
#
# PKI is a directory made by `act-sandbox` (or `cargo run -p act-sandbox --example pki`). Needs the Debian packages apache2
# and gcc. Run as root it serves as www-data, so the way to DIR must be open to everyone. Listens on 127.0.0.1 only.
set -euo pipefail

fail() {
    echo "apache-dav.sh: $*" >&2
    exit 1
}

# OpenSSL 3 refuses proxy certificates unless a flag is set on each SSL_CTX, and Apache has no directive for it.
build_preload() {
    cat > "$1/proxy_certs.c" <<'C'
#include <dlfcn.h>
#include <stddef.h>

#define X509_V_FLAG_ALLOW_PROXY_CERTS 0x40

void *SSL_CTX_new(const void *method)
{
    void *ssl = dlopen("libssl.so.3", RTLD_NOW), *crypto = dlopen("libcrypto.so.3", RTLD_NOW);
    if (!ssl || !crypto)
        return NULL;
    void *(*real)(const void *) = (void *(*)(const void *))dlsym(ssl, "SSL_CTX_new");
    void *(*param)(void *) = (void *(*)(void *))dlsym(ssl, "SSL_CTX_get0_param");
    int (*set)(void *, unsigned long) = (int (*)(void *, unsigned long))dlsym(crypto, "X509_VERIFY_PARAM_set_flags");
    if (!real || !param || !set)
        return NULL;
    void *ctx = real(method);
    if (ctx)
        set(param(ctx), X509_V_FLAG_ALLOW_PROXY_CERTS);
    return ctx;
}
C
    gcc -shared -fPIC -O2 -Wall -o "$1/proxy_certs.so" "$1/proxy_certs.c" -ldl || fail "cannot compile the preloaded library"
}

start() {
    local dir=$1 pki=$2 port=$3 modules=/usr/lib/apache2/modules
    [ -x /usr/sbin/apache2 ] || fail "Apache is not installed: apt-get install apache2"
    [ -r "$pki/host/cert.pem" ] || fail "no PKI of the sandbox in $pki"
    mkdir -p "$dir"/{dav,lock,log,run}
    chmod 755 "$dir"
    [ "$(id -u)" != 0 ] || chown www-data "$dir/dav" "$dir/lock"
    build_preload "$dir/run"
    cat > "$dir/httpd.conf" <<CONF
ServerRoot $dir
ServerName localhost
Listen 127.0.0.1:$port
PidFile $dir/run/apache.pid
DefaultRuntimeDir $dir/run
User www-data
Group www-data
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule ssl_module $modules/mod_ssl.so
LoadModule dav_module $modules/mod_dav.so
LoadModule dav_fs_module $modules/mod_dav_fs.so
StartServers 1
ErrorLog $dir/log/error.log
LogFormat "%m %U %>s %I %{SSL_CLIENT_S_DN}x" seen
CustomLog $dir/log/access.log seen
Mutex file:$dir/run
SSLSessionCache none
SSLEngine on
SSLCertificateFile $pki/host/cert.pem
SSLCertificateKeyFile $pki/host/key.pem
SSLCACertificateFile $pki/certificates/ca.pem
SSLVerifyClient require
SSLVerifyDepth 10
DavLockDB $dir/lock/db
# Only its directory dav is open, see below.
DocumentRoot $dir
<Location />
    Require all denied
</Location>
<Location /dav>
    Dav On
    Require all granted
</Location>
CONF
    LD_PRELOAD=$dir/run/proxy_certs.so /usr/sbin/apache2 -d "$dir" -f "$dir/httpd.conf" -k start ||
        fail "Apache did not start; see $dir/log/error.log"
    local try
    for try in $(seq 100); do
        if (exec 3<> "/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "https://localhost:$port/dav"
            return
        fi
        sleep 0.1
    done
    fail "nothing answers at port $port; see $dir/log/error.log"
}

stop() {
    local dir=$1 pid try
    [ -r "$dir/run/apache.pid" ] || return 0
    pid=$(cat "$dir/run/apache.pid")
    kill "$pid" 2>/dev/null || return 0
    for try in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
}

case "${1-} $#" in
    "start 4") start "$(realpath -m "$2")" "$(realpath "$3")" "$4" ;;
    "stop 2") stop "$(realpath -m "$2")" ;;
    *) fail "usage: apache-dav.sh start DIR PKI PORT | stop DIR" ;;
esac
