# shellcheck shell=bash
# Small disks that can be filled, ports that somebody else takes.

# The folder that small-disk puts on a disk of its own: of a node, or the operator's
disk_of() { [ "$1" = operator ] && echo "$DIR/operator" || echo /etc/kubernetes/ssl; }
# on_disk NAME COMMAND...: where that disk can be seen
on_disk() {
    local name=$1
    shift
    if [ "$name" = operator ]; then "$@"; else node_exec "$name" "$@"; fi
}
disk_name() { [ "$1" = operator ] && echo operator || node_name "$1"; }

# A tmpfs, with the files that were there (the operator's: cluster.yml and what lies beside it). A container sees the mounts
# of the moment when it was started, so the apiserver is restarted.
command_small_disk() {
    local name disk size
    load
    name=$(disk_name "${1:?usage: testbed small-disk NODE|operator [SIZE]}") size=${2:-1m}
    disk=$(disk_of "$name")
    ! on_disk "$name" mountpoint -q "$disk" || die "$name has a small disk already"
    if [ "$name" = operator ]; then
        mkdir -m 700 "$disk"
        mount -t tmpfs -o "mode=700,size=$size" encrypt-testbed "$disk"
        cp -p "$DIR"/{cluster.yml,cluster.rkestate,kube_config_cluster.yml} "$disk/"
        return
    fi
    # shellcheck disable=SC2016
    node_exec "$name" bash -c 'set -e; new=$(mktemp -d); mount -t tmpfs -o "mode=755,size=$2" encrypt-testbed "$new"
        cp -a "$1/." "$new/"; mount --move "$new" "$1" || { umount "$new"; exit 1; }; rmdir "$new"' - "$disk" "$size"
    docker_api "$name" POST /containers/kube-apiserver/restart >/dev/null
    until_true 90 "the apiserver of $name" apiserver_is_ready "$name"
}

# To the last byte
command_fill_disk() {
    local name disk
    load
    name=$(disk_name "${1:?usage: testbed fill-disk NODE|operator}")
    disk=$(disk_of "$name")
    on_disk "$name" mountpoint -q "$disk" || die "$name has no small disk"
    ! on_disk "$name" dd if=/dev/zero of="$disk/ballast" bs=4k status=none 2>/dev/null || die "$disk of $name doesn't get full"
}

command_free_disk() {
    local name
    load
    name=$(disk_name "${1:?usage: testbed free-disk NODE|operator}")
    on_disk "$name" rm -f "$(disk_of "$name")/ballast"
}

# Waits until the port is free, takes it at once, and closes every connection.
command_take_port() {
    local node
    load
    node=$(node_name "${1:?usage: testbed take-port NODE PORT}")
    [[ ${2:-} =~ ^[0-9]+$ ]] || die "usage: testbed take-port NODE PORT"
    # Its text, not its file: a node has a /tmp of its own, and this folder may be in the machine's.
    node_spawn "$node" take-port /usr/bin/python3 -c "$(cat "$LIB/take_port.py")" "$2" "/run/taken-$2"
    until_true 10 "the one who is to take port $2 of $node" node_exec "$node" test -e "/run/taken-$2.pid"
}

command_free_port() {
    local node pid
    load
    node=$(node_name "${1:?usage: testbed free-port NODE PORT}")
    pid=$(node_exec "$node" cat "/run/taken-${2:?usage: testbed free-port NODE PORT}.pid") || return 0
    node_exec "$node" kill -KILL "$pid"
    node_exec "$node" rm -f "/run/taken-$2.pid" "/run/taken-$2"
    until_true 10 "the end of the one who took port $2" node_exec "$node" test ! -e "/proc/$pid"
}
