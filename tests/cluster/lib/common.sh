# shellcheck shell=bash
# shellcheck disable=SC2034 # the other rooms use what is set here
# Names, folders, messages, bounded waiting and the records of started processes. Sourced by `testbed`.

say() { echo "testbed: $*" >&2; }
die() { say "$*"; exit 1; }

TESTBED=${TESTBED:-encrypt}
[[ $TESTBED =~ ^[a-z0-9][a-z0-9-]{0,31}$ ]] || die "TESTBED='$TESTBED': only small letters, digits and hyphens, at most 32"
TESTBED_ROOT=${TESTBED_ROOT:-/var/tmp/encrypt-testbed}
DIR=$TESTBED_ROOT/$TESTBED
PKI=$DIR/pki
CACHE=${ENCRYPT_CACHE:-/var/cache/encrypt}
CGROUP=encrypt-testbed-$TESTBED

NODES=()

# Sets the variables that `up` left in DIR/instance: SUBNET, OPERATOR, COUNT, KIND, NODE_USER, BASTION, NODES...
load() {
    [ -e "$DIR/instance" ] || die "no testbed '$TESTBED' is up: $0 up --nodes 3 --kind rke"
    # shellcheck disable=SC1091
    . "$DIR/instance"
    mapfile -t NODES < <(seq -f 'node%g' 1 "$COUNT")
}

# address NODE: of node1, node2, ..., bastion
address() {
    case $1 in
    bastion) echo "$SUBNET.5" ;;
    node*) echo "$SUBNET.$((10 + ${1#node}))" ;;
    esac
}

# node_name NAME-OR-ADDRESS: the node's name, or the end
node_name() {
    local node
    for node in "${NODES[@]}" ${BASTION:+bastion}; do
        if [ "$1" = "$node" ] || [ "$1" = "$(address "$node")" ]; then echo "$node"; return; fi
    done
    die "no node '$1' (there are: ${NODES[*]}${BASTION:+ bastion})"
}

# Each has a room of its name. Hooks that only some kinds have: KIND_needs, KIND_node_files NODE (before its first process),
# KIND_node_started NODE (its mounts). Those of per_kind: node_init, node_daemon NODE, node_daemon_is_up NODE, make_images, install_pki NODE, etcd_files NODE, bring_up_apiserver NODE,
# write_cluster_yml, cluster_kubeconfig, cluster_made, restarts NODE, flags NODE, apiserver_log NODE, apiserver_port,
# etcd_prefix.
KINDS=(rke kubeadm systemd openshift3 rke2 k3s)

# per_kind FUNCTION ARGUMENTS...: what the instance's kind has of that name (kubeadm_install_pki), else the function itself, which is RKE's
per_kind() {
    if declare -F "${KIND}_$1" >/dev/null; then "${KIND}_$1" "${@:2}"; else "$@"; fi
}

netns() { echo "eb-$TESTBED-$1"; }

# until_true SECONDS WHAT COMMAND...: polls every 50 ms; dies when the time is over, with WHAT it waited for
until_true() {
    local end=$((${EPOCHREALTIME/./} + $1 * 1000000)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "${EPOCHREALTIME/./}" -lt "$end" ] || { say "gave up waiting for $what"; return 1; }
        sleep 0.05
    done
}

# start_time PID: field 22 of its stat; fails where there is no such process
start_time() {
    local stat
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
    stat=${stat##*) }
    # shellcheck disable=SC2086
    set -- $stat
    echo "${20}"
}

# A record is a file "PID STARTTIME". It stands before the recorded program runs.
recorded_alive() {
    local pid started
    read -r pid started 2>/dev/null <"$1" || return 1
    [ -n "$started" ] && [ "$(start_time "$pid" 2>/dev/null)" = "$started" ]
}

# recorded_pid FILE: its pid, if that very process is still alive
recorded_pid() {
    recorded_alive "$1" || return 1
    cut -d' ' -f1 "$1"
}

kill_recorded() {
    local pid
    pid=$(recorded_pid "$1") || return 0
    kill -KILL "$pid" 2>/dev/null || true
}
