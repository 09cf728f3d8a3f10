# shellcheck shell=bash
# A KMS plugin on each node, for kube-apiserver's provider `kms`. All of them have one remote key, a file of this instance.

kms_keys=$DIR/kms/keys.json

# A new version of the remote key; the former ones still decrypt.
kms_new_key() {
    local keys='[]'
    mkdir -p "$DIR/kms"
    [ ! -e "$kms_keys" ] || keys=$(cat "$kms_keys")
    (umask 077 && jq -c --arg key "$(openssl rand -hex 32)" '. + [$key]' <<<"$keys" >"$kms_keys.new")
    mv "$kms_keys.new" "$kms_keys"
}

# The folder (in the node) with a record for each plugin: the process id in `pid`, the socket's path in `socket`
kms_folder=/run/testbed-kms

# kms_stop NODE [SOCKET]: the plugin of that socket, or all of the node's
kms_stop() {
    local node=$1 record socket pid
    for record in $(node_exec "$node" find "$kms_folder" -name '*.pid' 2>/dev/null); do
        socket=$(node_exec "$node" cat "${record%.pid}.socket")
        [ -z "${2:-}" ] || [ "$2" = "$socket" ] || continue
        pid=$(node_exec "$node" cat "$record")
        # One that is dead already has left its record too.
        if node_exec "$node" grep -qs testbed-kms "/proc/$pid/cmdline"; then
            node_exec "$node" kill -KILL "$pid" || true
            until_true 10 "the end of the KMS plugin of $node" node_exec "$node" test ! -e "/proc/$pid/exe"
        fi
        case $socket in @*) ;; *) node_exec "$node" rm -f "$socket" ;; esac
        node_exec "$node" rm -f "$record" "${record%.pid}.socket"
    done
}

kms_start() {
    local node=$1 mode=$2 socket=$3 record
    record=$kms_folder/${socket//\//_}
    kms_stop "$node" "$socket"
    node_exec "$node" mkdir -p "$kms_folder"
    case $socket in @*) ;; *) node_exec "$node" mkdir -p "${socket%/*}" ;; esac
    # shellcheck disable=SC2016
    node_exec "$node" sh -c 'printf %s "$2" >"$1.socket"' - "$record" "$socket"
    # Its text, not its file: see take-port.
    node_spawn "$node" kms /usr/bin/python3 -c "$(cat "$LIB/kms.py")" "$mode" "$socket" "$kms_keys" "$record.pid" "$kms_folder"
    until_true 20 "the KMS plugin of $node (testbed log $node kms)" node_exec "$node" test -e "$record.pid"
}

command_kms() {
    local action=${1:-} mode=good socket=/run/kms/kms.sock given='' node nodes=()
    load
    shift || true
    while [ $# -gt 0 ]; do
        case $1 in
        --mode) mode=${2:?} ;;
        --socket) socket=${2:?} given=yes ;;
        *) node=$(node_name "$1") && nodes+=("$node") && shift && continue ;;
        esac
        shift 2
    done
    [ ${#nodes[@]} -gt 0 ] || nodes=("${NODES[@]}")
    case $action in
    start)
        [[ $mode =~ ^(good|dead|mute|refuse)$ ]] || die "--mode: good, dead, mute or refuse"
        # Only there has each node files of its own.
        [[ $socket =~ ^(/run/|/var/run/|/etc/|@)[^[:space:]]+$ ]] || die "--socket: a path below /run, /var/run or /etc, or @name"
        [ -e "$kms_keys" ] || kms_new_key
        for node in "${nodes[@]}"; do kms_start "$node" "$mode" "$socket"; done
        ;;
    stop) for node in "${nodes[@]}"; do kms_stop "$node" "${given:+$socket}"; done ;;
    rotate) kms_new_key ;;
    *) die "usage: testbed kms start|stop|rotate [--mode good|dead|mute|refuse] [--socket PATH] [NODE...]" ;;
    esac
}
