# shellcheck shell=bash
# up and down.

# One up or down at a time for one name. Programs that stay (nodes) don't inherit the lock (9>&-), helpers of a killed `up` do:
# the next one waits until they have ended.
take_lock() {
    local lock=$TESTBED_ROOT/$TESTBED.lock
    while :; do
        mkdir -p "$TESTBED_ROOT"
        exec 9>"$lock"
        flock -w 120 9 || die "another up or down of '$TESTBED' is at work"
        # `down` removes the file while it holds it: is this still the one with the name?
        [ ! /dev/fd/9 -ef "$lock" ] || return 0
    done
}

# Ends whatever there is of this instance, whole or half-made. In a subshell: what that one was made with is not what the next shall be.
clean() (
    local record
    if [ -e "$DIR/instance" ]; then
        # Its LINK alone: an `up` that cleans has its own COUNT and the rest already.
        # shellcheck disable=SC1091
        LINK=$(. "$DIR/instance" && echo "${LINK:-}")
    fi
    for record in "$DIR"/run/*.init "$DIR"/run/*.unshare; do
        [ ! -e "$record" ] || kill_recorded "$record"
    done
    network_down
    drop_cgroups
    ! mountpoint -q "$DIR/operator" || umount "$DIR/operator" 2>/dev/null || umount -l "$DIR/operator"
    # The kernel takes a dead namespace's mounts away in its own time.
    for _ in {1..200}; do
        rm -rf --one-file-system "$DIR" 2>/dev/null || true
        [ -e "$DIR" ] || return 0
        sleep 0.05
    done
    rm -rf --one-file-system "$DIR" || die "can't remove $DIR"
)

command_down() {
    take_lock
    clean
    rm -f "$TESTBED_ROOT/$TESTBED.lock"
    rmdir "$TESTBED_ROOT" 2>/dev/null || true
}

# shellcheck disable=SC2034
command_up() {
    local node name started=$SECONDS
    COUNT=3 KIND=rke NODE_USER=root BASTION='' APISERVER='' ETCD='' APISERVER_ARGS='' BARE='' SPARE=0 BUSYBOX=''
    while [ $# -gt 0 ]; do
        case $1 in
        --nodes) COUNT=${2:?} ;;
        --kind) KIND=${2:?} ;;
        --user) NODE_USER=${2:?} ;;
        --apiserver) APISERVER=$(realpath "${2:?}") ;;
        --etcd) ETCD=$(realpath "${2:?}") ;;
        --apiserver-args) APISERVER_ARGS=${2?} ;;
        --spare) SPARE=${2:?} ;;
        --busybox) BUSYBOX=yes && shift && continue ;;
        --bare) BARE=yes && shift && continue ;;
        --bastion) BASTION=yes && shift && continue ;;
        *) die "up: unknown argument '$1'" ;;
        esac
        shift 2
    done
    [[ $COUNT =~ ^[1-9]$ ]] || die "--nodes: 1 to 9"
    [[ $SPARE =~ ^[0-9]$ ]] || die "--spare: 0 to 9"
    ETCD_COUNT=$COUNT
    [[ " ${KINDS[*]} " = *" $KIND "* ]] || die "--kind: one of ${KINDS[*]}"
    [[ $KIND != rke2 && $KIND != k3s ]] || { [ -z "$BARE" ] && [ "$SPARE" = 0 ]; } || die "--bare, --spare: not with kind $KIND"
    case $NODE_USER in
    root | dock) ;;
    docker-user) NODE_USER=dock ;;
    sudo-user) NODE_USER=ops ;;
    *) die "--user: root, docker-user or sudo-user" ;;
    esac
    OPS_SHELL=/bin/bash
    [ -z "$BUSYBOX" ] || OPS_SHELL=/etc/busybox/sh
    "$HERE/install-deps"
    if [ -z "$APISERVER" ]; then
        "$HERE/build-kubernetes" kube-apiserver
        APISERVER=$CACHE/kubernetes-1.20.2/kube-apiserver
    fi
    ! declare -F "${KIND}_needs" >/dev/null || "${KIND}_needs"
    [ -x "$APISERVER" ] || die "--apiserver: $APISERVER is not a program"

    take_lock
    clean
    choose_subnet
    umask 022
    mkdir -p "$DIR"/{run,nodes}
    chmod 700 "$DIR"
    if [ -n "$ETCD" ]; then
        # where the nodes can see it
        cp "$ETCD" "$DIR/etcd"
        ETCD=$DIR/etcd
    fi
    for name in TESTBED SUBNET OPERATOR LINK COUNT KIND NODE_USER BASTION APISERVER ETCD APISERVER_ARGS ETCD_COUNT; do
        printf '%s=%q\n' "$name" "${!name}"
    done >"$DIR/instance.new"
    mv "$DIR/instance.new" "$DIR/instance"
    # Certificates and machines are those of the spare ones too.
    mapfile -t NODES < <(seq -f 'node%g' 1 $((COUNT + SPARE)))

    # The slow parts side by side: certificates, the images' tars, the nodes with their daemons.
    all_of cluster_certificates images nodes_with_daemons
    write_known_hosts
    for node in "${NODES[@]}"; do
        [ -z "$BARE" ] && [ "${node#node}" -le "$COUNT" ] || per_kind empty_node "$node"
    done
    mapfile -t NODES < <(seq -f 'node%g' 1 "$COUNT")
    write_kubeconfigs
    per_kind write_cluster_yml
    if [ -n "$BARE" ]; then
        say "$COUNT bare node(s) of kind $KIND are up after $((SECONDS - started)) s; files in $DIR"
        return
    fi
    for node in "${NODES[@]}"; do per_kind install_pki "$node"; done
    for node in "${NODES[@]}"; do start_etcd "$node"; done
    all_of node_containers
    [ "$SPARE" -gt 0 ] || rm -rf "$DIR/image"
    for node in "${NODES[@]}"; do
        until_true 240 "the apiserver of $node (testbed log $node kube-apiserver)" apiserver_is_ready "$node" || exit 1
    done
    until_true 90 "all apiservers in default/kubernetes" endpoints_are_complete || exit 1

    per_kind cluster_made
    say "$COUNT node(s) of kind $KIND are up after $((SECONDS - started)) s; files in $DIR"
}

# all_of PART...: runs them side by side; all must succeed
all_of() {
    local part pids=() failed=
    for part in "$@"; do
        "$part" &
        pids+=($!)
    done
    for part in "${pids[@]}"; do wait "$part" || failed=yes; done
    [ -z "$failed" ] || die "up failed (the parts that are there can be looked at; \`down\` removes them)"
}

# for_nodes FUNCTION NODE...: for each node at once
for_nodes() {
    local function=$1 node pids=() failed=0
    shift
    for node in "$@"; do
        "$function" "$node" &
        pids+=($!)
    done
    for node in "${pids[@]}"; do wait "$node" || failed=1; done
    return $failed
}

cluster_certificates() { make_cluster_pki; }
images() { per_kind make_images; }

nodes_with_daemons() {
    local node
    make_ssh_keys
    network_up
    for node in "${NODES[@]}" ${BASTION:+bastion}; do
        connect "$node"
        [ "$node" = bastion ] || [ -z "$BASTION" ] || hide_behind_bastion "$node"
    done
    for_nodes bring_up_node "${NODES[@]}" ${BASTION:+bastion}
}

bring_up_node() {
    node_files "$1"
    [ "$1" = bastion ] || ! declare -F "${KIND}_node_files" >/dev/null || "${KIND}_node_files" "$1"
    node_start "$1"
    [ "$1" = bastion ] || ! declare -F "${KIND}_node_started" >/dev/null || "${KIND}_node_started" "$1"
    start_sshd "$1"
    [ "$1" = bastion ] || per_kind node_daemon "$1"
    until_true 20 "sshd of $1" sshd_answers "$1"
    [ "$1" = bastion ] || until_true 30 "what starts containers or units on $1 (testbed log $1 dockerd, or init)" per_kind node_daemon_is_up "$1"
}

sshd_answers() {
    local banner
    # shellcheck disable=SC2016
    banner=$(near_or_inside "$1" timeout 2 bash -c 'read -r line <"/dev/tcp/$1/22" && echo "$line"' - "$(address "$1")")
    [[ $banner == SSH-2.0-* ]]
}

# In the node's own network: true before the bastion is there
near_or_inside() {
    local ns
    ns=$(netns "$1")
    shift
    nsenter --net="/var/run/netns/$ns" "$@"
}

node_containers() { for_nodes bring_up_containers "${NODES[@]}"; }

bring_up_containers() { per_kind bring_up_apiserver "$1"; }

bring_up_apiserver() {
    load_images "$1"
    create_containers "$1"
    start_apiserver "$1"
}
