#!/bin/sh
# Submits a job description to actd, waits by events, lists the results. curl and jq; one call is one HTTP POST.
set -eu
socket=${XDG_RUNTIME_DIR:+$XDG_RUNTIME_DIR/actd}
socket=${socket:-/tmp/actd-$(id -u)}/default.sock

# rpc METHOD PARAMS: the result, or the error on stderr.
rpc() {
    jq -nc --arg method "$1" --argjson params "$2" '{jsonrpc: "2.0", id: 1, method: $method, params: $params}' |
        curl -sS --fail --unix-socket "$socket" -H 'Content-Type: application/json' --data-binary @- http://localhost/rpc |
        jq -ec 'if .error then .error.message + " (" + (.error.data.hint // "") + ")\n" | halt_error else .result end'
}

file=$(realpath "$1")
rpc daemon.hello '{"client": "jobs.sh", "protocol": 1}' >/dev/null
# From which event on: the newest there is.
since=$(rpc events.list '{"limit": 1}' | jq .last)
reply=$(rpc jobs.submit "$(jq -n --rawfile text "$file" --arg path "$file" --arg dir "$(dirname "$file")" --arg ref "$$-$(date +%s%N)" \
    '{descriptions: [{text: $text, path: $path, base_dir: $dir}], client_ref: $ref}')")
echo "$reply" | jq -e 'all(.items[]; .error == null)' >/dev/null || { echo "$reply" | jq -r '.items[].error // empty' >&2; exit 1; }
keys=$(echo "$reply" | jq -c '[.items[].key]')
waiting=$keys
while [ "$waiting" != '[]' ]; do
    news=$(rpc events.list "$(jq -nc --argjson jobs "$waiting" --argjson since "$since" \
        '{since: $since, types: ["job"], jobs: $jobs, timeout_ms: 30000}')")
    waiting=$(echo "$news" | jq -c --argjson waiting "$waiting" '$waiting - [.items[] | select(.after) |
        select((.after.phase | IN("stored", "closed")) or (.after.arcstate | IN("failed", "donefailed", "cancelled", "lost"))) | .key]')
    since=$(echo "$news" | jq '.items[-1].seq // .last')
done
jobs=$(rpc jobs.list "$(jq -nc --argjson keys "$keys" '{filter: {select: $keys}, closed: true}')")
echo "$jobs" | jq -r '.items[] | [.key, .name, .arcstate, .results // ""] | @tsv' | while IFS='	' read -r key name state results; do
    echo "$key $name $state"
    [ -z "$results" ] || rpc jobs.files "$(jq -nc --arg job "$key" '{job: $job}')" | jq -r '.files[] | "  \(.path) \(.size)"'
done
echo "$jobs" | jq -e 'all(.items[]; .arcstate == "done")' >/dev/null
