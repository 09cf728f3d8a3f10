# shellcheck shell=bash
# What the flows of a first provisioning share: what `up --initial` told, held against the nodes and etcd. After lib.sh.

TOLD=$WORK/told.json
REGISTRY=${REGISTRY:-/registry} # where the apiservers keep what they store
initial() { run up --initial "$@" && cp "$WORK/out" "$TOLD"; }
address_of() { "$TB" nodes | awk -v n="$1" '$1 == n { print $2 }'; }

# each_node COMMAND...: on all nodes
each_node() {
    local node
    for node in $(seq -f 'node%g' 1 "$COUNT"); do "$TB" exec "$node" "$@" || return 1; done
}
# told_is_there [NODE...]: what it told is what lies there: hash, mode and owner on each node, or those
told_is_there() {
    local node path sha
    for node in ${*:-$(seq -f 'node%g' 1 "$COUNT")}; do
        read -r path sha < <(jq -r --arg a "$(address_of "$node")" '(.start // .).nodes[] | select(.address == $a) | .files[] | "\(.path) \(.sha256)"' "$TOLD")
        [ "$("$TB" exec "$node" sha256sum "$path" | cut -d' ' -f1)" = "$sha" ] || return 1
        [ "$("$TB" exec "$node" stat -c '%a %u:%g' "$path")" = "600 0:0" ] || return 1
    done
}
one_key() { [ "$(jq '.encrypt.keys | length' "$STATE")" = 1 ] && [ "$(jq -r '.encrypt.keys[0].name' "$STATE")" = "$(jq -r .key "$TOLD")" ]; }
no_key_is_told() {
    local secret
    for secret in $(jq -r '.encrypt.keys[].secret' "$STATE"); do
        ! grep -qF -- "$secret" "$TOLD" "$LOG" || return 1
    done
}
# Every revision there ever was of every secret, from etcd's first on, as they come.
watch_history() {
    timeout 600 "$TB" etcdctl watch --prefix "$REGISTRY/secrets/" --rev 1 -w json >"$WORK/history" 2>&1 &
    HISTORY_PID=$!
}
# never_plain COUNT: at least so many values were written, and none of them was plain
never_plain() {
    local forms
    # The last that was written has to be there.
    "$TB" kubectl -n default create secret generic "history-$RANDOM$RANDOM" --from-literal=last=one || return 1
    # (A created one is version 1 of its key.)
    for _ in {1..50}; do
        grep -q "$("$TB" etcdctl get --prefix "$REGISTRY/secrets/default/history-" --keys-only -w json | jq -r '.kvs[-1].key')" "$WORK/history" && break
        sleep 0.1
    done
    forms=$(jq -r '.Events[]? | select(.kv.value) | .kv.value' "$WORK/history" | while read -r value; do
        base64 -d <<<"$value" | head -c 60 | tr -d '\0' | grep -ao '^k8s:enc:[a-z0-9]*:v[0-9]*:[a-z0-9-]*:' || echo plain
    done | sort | uniq -c)
    echo "$forms"
    ! grep -q plain <<<"$forms" && [ "$(awk '{ n += $1 } END { print n + 0 }' <<<"$forms")" -gt "$1" ]
}
