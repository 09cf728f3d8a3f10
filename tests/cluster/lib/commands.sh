# shellcheck shell=bash
# The commands that look at a running instance, use it or hurt it.

command_nodes() {
    local node
    load
    for node in "${NODES[@]}" ${BASTION:+bastion}; do echo "$node $(address "$node")"; done
}

command_env() {
    load
    printf '%s=%q\n' DIR "$DIR" CONFIG "$DIR/cluster.yml" STATE "$DIR/cluster.rkestate" KNOWN_HOSTS "$DIR/known_hosts" \
        KUBECONFIG "$(per_kind cluster_kubeconfig)" KIND "$KIND" SSH_KEY "$DIR/keys/id_ed25519" SSH_PASSPHRASE_FILE "$DIR/keys/passphrase" \
        NODE_USER "$NODE_USER" COUNT "$COUNT" ADDRESSES "$(for node in "${NODES[@]}"; do address "$node"; done | paste -sd ' ')" \
        BASTION_ADDRESS "${BASTION:+$(address bastion)}" OPERATOR "$OPERATOR"
}

command_ssh() {
    local node
    load
    node=$(node_name "${1:?usage: testbed ssh NODE COMMAND...}")
    shift
    near ssh -F /dev/null -i "$DIR/keys/id_ed25519" -o IdentitiesOnly=yes -o UserKnownHostsFile="$DIR/known_hosts" -o BatchMode=yes \
        -o StrictHostKeyChecking=yes -o LogLevel=ERROR "$NODE_USER@$(address "$node")" "$@"
}

command_exec() {
    local node
    load
    node=$(node_name "${1:?usage: testbed exec NODE COMMAND...}")
    shift
    node_exec "$node" "$@"
}

command_docker() {
    local node
    load
    node=$(node_name "${1:?usage: testbed docker NODE COMMAND...}")
    shift
    node_exec "$node" /usr/bin/docker "$@"
}

command_kubectl() {
    load
    near kubectl --kubeconfig "$(per_kind cluster_kubeconfig)" "$@"
}

command_kubeconfig() {
    local node
    load
    [ $# -gt 0 ] || { per_kind cluster_kubeconfig; return; }
    node=$(node_name "$1")
    echo "$DIR/kubeconfig-$node"
}

command_near() {
    load
    near "$@"
}

python() { near /usr/bin/python3 -B "$LIB/$1.py" "$DIR" "$(for node in "${NODES[@]}"; do address "$node"; done | paste -sd ,)" "${@:2}"; }

command_fill() {
    load
    python data fill "${1:?usage: testbed fill COUNT [SIZE [secrets|configmaps]]}" "${2:-1500}" "${3:-secrets}"
}

command_check_data() {
    local node name nodes=()
    load
    for node in "$@"; do
        name=$(node_name "$node")
        nodes+=("$name")
    done
    [ $# -eq 0 ] || NODES=("${nodes[@]}")
    python data check
}

command_etcd_get() {
    load
    etcdctl_ get --print-value-only -- "${1:?usage: testbed etcd-get KEY}"
}

command_etcd_forms() {
    load
    python etcd_forms "${1:-$(per_kind etcd_prefix)/secrets/}"
}

command_etcdctl() {
    load
    etcdctl_ "$@"
}

restarts() {
    docker_api "$1" GET /containers/kube-apiserver/json |
        jq -r --arg node "$1" '[$node, .Id[0:12], .State.Status, .State.StartedAt, "RestartCount=\(.RestartCount)"] | join(" ")'
}
flags() { docker_api "$1" GET /containers/kube-apiserver/json | jq -r '.Args[]'; }
apiserver_log() { node_exec "$1" /usr/bin/docker logs kube-apiserver 2>&1; }

command_restarts() {
    local node
    load
    for node in "${NODES[@]}"; do per_kind restarts "$node"; done
}

command_flags() {
    local node
    load
    node=$(node_name "${1:?usage: testbed flags NODE}")
    per_kind flags "$node"
}

command_log() {
    local node
    load
    node=$(node_name "${1:?usage: testbed log NODE NAME}")
    case ${2:?usage: testbed log NODE NAME} in
    kube-apiserver) per_kind apiserver_log "$node" ;;
    *) cat "$(node_dir "$node")/log/$2" ;;
    esac
}

command_cut() {
    local node
    load
    node=$(node_name "${1:?usage: testbed cut NODE}")
    cut_node "$node"
}

command_heal() {
    local node
    load
    node=$(node_name "${1:?usage: testbed heal NODE}")
    heal_node "$node"
}

# kill_process NODE NAME: and waits until it is gone
kill_process() {
    local pid
    pid=$(node_process "$1" "$2") || die "$1: no $2 is running"
    kill -KILL "$pid"
    until_true 10 "the end of $2 on $1" test ! -e "/proc/$pid/exe"
}

command_kill_etcd() {
    local node
    load
    node=$(node_name "${1:?usage: testbed kill-etcd NODE}")
    kill_process "$node" etcd
}

command_start_etcd() {
    local node
    load
    node=$(node_name "${1:?usage: testbed start-etcd NODE}")
    start_etcd "$node"
}

command_kill_dockerd() {
    local node pid
    load
    node=$(node_name "${1:?usage: testbed kill-dockerd NODE}")
    kill_process "$node" dockerd
    for pid in $(ip netns pids "$(netns "$node")"); do
        case $(cat "/proc/$pid/comm" 2>/dev/null) in
        containerd* | kube-apiserver) kill -KILL "$pid" 2>/dev/null || true ;;
        esac
    done
}

command_start_dockerd() {
    local node
    load
    node=$(node_name "${1:?usage: testbed start-dockerd NODE}")
    node_exec "$node" rm -f /run/docker.pid
    start_dockerd "$node"
    until_true 30 "dockerd of $node" dockerd_is_up "$node"
}

command_kill_sshd() {
    local node pid
    load
    node=$(node_name "${1:?usage: testbed kill-sshd NODE}")
    for pid in $(ip netns pids "$(netns "$node")"); do
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != sshd ] || kill -KILL "$pid" 2>/dev/null || true
    done
}

command_start_sshd() {
    local node
    load
    node=$(node_name "${1:?usage: testbed start-sshd NODE}")
    start_sshd "$node"
    until_true 20 "sshd of $node" sshd_answers "$node"
}
