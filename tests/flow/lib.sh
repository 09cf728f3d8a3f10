# shellcheck shell=bash
# What the flow tests share: a testbed of their own, the program under test, and checks that count.
set -uo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TOP=$(cd "$HERE/../.." && pwd)
TB=$TOP/tests/cluster/testbed
ENCRYPT=$(realpath "${ENCRYPT:-$TOP/build/encrypt}")
export TESTBED=${TESTBED:-flow}
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0}
SUITE=${SUITE:-flow}
PASSED=0 FAILED=0
WORK=$(mktemp -d)

# ok NAME COMMAND...: the promise is kept where the command succeeds
ok() {
    local name=$1 rc
    shift
    # No subshell: what the command sets stays.
    "$@" >"$WORK/said" 2>&1
    rc=$?
    if [ "$rc" -eq 0 ]; then
        PASSED=$((PASSED + 1))
        echo "$SUITE: ok: $name"
    else
        FAILED=$((FAILED + 1))
        echo "$SUITE: FAILED: $name (exit status $rc)"
        tail -n 40 "$WORK/said" | sed 's/^/    /'
    fi
    return "$rc"
}

# testbed_up ARGUMENTS...: or end the suite
testbed_up() {
    echo "$SUITE: testbed: $*"
    "$TB" up "$@" >"$WORK/up.log" 2>&1 || {
        cat "$WORK/up.log"
        echo "$SUITE: the testbed doesn't come up"
        exit 1
    }
    eval "$("$TB" env)"
    LOG=$DIR/encrypt.log
    : >"$LOG"
}

end_suite() {
    local rc=$?
    [ -z "${WITNESS_PID:-}" ] || kill "$WITNESS_PID" 2>/dev/null
    "$TB" down >/dev/null 2>&1
    rm -rf "$WORK"
    echo "$SUITE: $PASSED passed, $FAILED failed"
    # (exit alone gives, in a trap, the status from before it)
    [ "$rc" -eq 0 ] && [ "$FAILED" -eq 0 ] && [ "$PASSED" -gt 0 ]
    exit $?
}
trap end_suite EXIT

# run COMMAND...: the program, its standard error added to $LOG; the last run's alone in $WORK/err, its output in $WORK/out
run() {
    local rc
    "$TB" near "$ENCRYPT" "$@" --config "$CONFIG" --known-hosts "$KNOWN_HOSTS" 2>&1 >"$WORK/out" | tee "$WORK/err" >>"$LOG"
    rc=${PIPESTATUS[0]}
    cat "$WORK/out" "$WORK/err"
    return "$rc"
}

# fails_with CODE TEXT COMMAND...: this exit status, and TEXT in what it said
fails_with() {
    local want=$1 text=$2 out rc
    shift 2
    out=$("$@" 2>&1)
    rc=$?
    echo "$out"
    [ "$rc" -eq "$want" ] && grep -qF -- "$text" <<<"$out"
}

# set_encryption true|false|absent: edits cluster.yml as an operator would
set_encryption() {
    /usr/bin/python3 - "$CONFIG" "$1" <<'PY'
import re, sys
path, want = sys.argv[1:]
text = open(path).read()
text = re.sub(r"(?m)^    secrets_encryption_config:\n(      .*\n)*", "", text)
if want != "absent":
    block = f"    secrets_encryption_config:\n      enabled: {want}\n"
    text, n = re.subn(r"(?m)^  kube-api:\n", "  kube-api:\n" + block, text)
    assert n == 1, "no services.kube-api in cluster.yml"
open(path, "w").write(text)
PY
}

active_key() { jq -r '[.encrypt.keys[] | select(.activated and (.retired | not))] | last | .name' "$STATE"; }

# only_form FORM: everything under /registry/secrets/ has this one form
only_form() {
    local forms
    forms=$("$TB" etcd-forms)
    echo "$forms"
    [ "$(wc -l <<<"$forms")" -eq 1 ] && grep -qF -- "$1" <<<"$forms"
}
only_active_key() { only_form "k8s:enc:aescbc:v1:$(active_key):"; }

# Both strings of the state hold what lies on the nodes, and the `enabled` flags agree.
state_agrees() {
    local node want
    want=$(jq -r '.currentState.encryptionConfig' "$STATE")
    [ "$want" = "$(jq -r '.desiredState.encryptionConfig' "$STATE")" ] || return 1
    for node in $(seq -f 'node%g' 1 "$COUNT"); do
        [ "$("$TB" exec "$node" cat /etc/kubernetes/ssl/encryption.yaml 2>/dev/null)" = "$(printf %s "$want")" ] || return 1
    done
    [ "$(jq '[.currentState, .desiredState] | map(.rkeConfig.services.kubeApi.secretsEncryptionConfig.enabled // false) | unique | length' "$STATE")" = 1 ]
}

# What RKE's next `up` would change, going its way over cluster.yml, the state and the files as they lie on the nodes
rke_finds_nothing_to_undo() {
    local node files=()
    for node in $(seq -f 'node%g' 1 "$COUNT"); do
        "$TB" exec "$node" cat /etc/kubernetes/ssl/encryption.yaml >"$WORK/$node.yaml" 2>/dev/null
        files+=("$WORK/$node.yaml")
    done
    "$TOP/tests/cluster/rke-next-up" "$CONFIG" "$STATE" "${files[@]}"
}

no_transition() { [ "$(jq .encrypt.transition "$STATE")" = null ]; }
# file_is_private [PATH]: 0600, root's, on each node
file_is_private() {
    local node
    for node in $(seq -f 'node%g' 1 "$COUNT"); do
        [ "$("$TB" exec "$node" stat -c '%a %u %g' "${1:-/etc/kubernetes/ssl/encryption.yaml}")" = "600 0 0" ] || return 1
    done
}
no_file_no_flag() {
    local node
    for node in $(seq -f 'node%g' 1 "$COUNT"); do
        "$TB" exec "$node" test ! -e /etc/kubernetes/ssl/encryption.yaml || return 1
        "$TB" flags "$node" | grep -q encryption-provider && return 1
    done
    return 0
}
# Nothing of ours but the configuration: no container, no temporary file, on nodes or beside the state file.
nothing_left_behind() {
    local node
    for node in $(seq -f 'node%g' 1 "$COUNT"); do
        [ "$("$TB" docker "$node" ps -a --format '{{.Names}}' | sort | grep -ci 'encrypt')" = 0 ] || return 1
        [ -z "$("$TB" exec "$node" find /etc/kubernetes -name '.*encrypt*')" ] || return 1
    done
    [ -z "$(find "$DIR" -maxdepth 1 -name '.*.encrypt-*')" ] || return 1
    ! "$TB" kubectl -n kube-system get lease encrypt >/dev/null 2>&1
}
# No key in any container's settings, nor in what was printed.
no_key_shows() {
    local node secret
    for secret in $(jq -r '.encrypt.keys[].secret' "$STATE"); do
        ! grep -qF -- "$secret" "$LOG" || return 1
        for node in $(seq -f 'node%g' 1 "$COUNT"); do
            ! "$TB" docker "$node" ps -aq | xargs -r "$TB" docker "$node" inspect | grep -qF -- "$secret" || return 1
        done
    done
}
restarts_by_itself() { "$TB" restarts | grep -v 'RestartCount=0$'; }

# WITNESS_RATE: writes a second through each apiserver (each is read back through all of them)
start_witness() {
    "$TOP/tests/cluster/client" --rate "${WITNESS_RATE:-4}" --dir "$DIR" --log "$LOG" --out "$WORK/witness.json" >"$WORK/witness.out" 2>&1 &
    WITNESS_PID=$!
    for _ in {1..100}; do
        grep -q ready "$WORK/witness.out" && return 0
        sleep 0.1
    done
    cat "$WORK/witness.out"
    return 1
}
# The witness's own verdict: no failure, no wrong value, none lost
witness_is_content() {
    local rc
    kill -TERM "$WITNESS_PID"
    wait "$WITNESS_PID"
    rc=$?
    WITNESS_PID=
    [ "$rc" -eq 0 ] || jq '{failures: .failures[:5], wrong: .wrong[:5], lost: .lost[:5]}' "$WORK/witness.json"
    return "$rc"
}

# ended_at SIGNAL PATTERN COMMAND: starts it, sends the signal when its messages show the pattern; gives its exit status
ended_at() {
    local pid i
    : >"$WORK/ended" # here: what it said the last time is not to be taken for this one's
    "$ENCRYPT" "${@:3}" --config "$CONFIG" --known-hosts "$KNOWN_HOSTS" >"$WORK/ended" 2>&1 &
    pid=$!
    for ((i = 0; i < 3000; i++)); do
        grep -q "$2" "$WORK/ended" && break
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.02
    done
    kill "-$1" "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    local rc=$?
    cat "$WORK/ended" >>"$LOG"
    cat "$WORK/ended"
    return "$rc"
}
stopped_at() {
    ended_at INT "$@"
    [ $? -eq 130 ]
}
killed_at() {
    ended_at KILL "$@"
    [ $? -eq 137 ]
}
