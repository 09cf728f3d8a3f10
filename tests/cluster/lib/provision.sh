# shellcheck shell=bash
# What a provisioner does by and by: nodes that begin bare, join, or are replaced.

has_image() { docker_api "$1" GET "/images/$IMAGE/json" 2>/dev/null; }

# empty_node NODE: as a machine has it on which nothing of Kubernetes was installed
empty_node() { rm -rf "$(node_dir "$1")/etc/kubernetes"; }

# pki_folder NODE: where install_pki puts its files
pki_folder() { echo "$(node_dir "$1")/etc/kubernetes/ssl"; }

# prepare_node NODE: the certificates, where they lack
prepare_node() {
    local folder
    folder=$(per_kind pki_folder "$1")
    [ -z "$(ls -A "$folder" 2>/dev/null | grep -v '^[.]*encrypt')" ] || return 0
    mkdir -p "$folder"
    per_kind install_pki "$1"
}

# Each member's etcd, where it doesn't run
start_etcds() {
    local node
    for node in $(etcd_nodes); do
        prepare_node "$node"
        node_process "$node" etcd >/dev/null || start_etcd "$node"
    done
}

# start_with NODE FLAGS MOUNTS: the apiserver, as the kind's provisioner makes it, with these flags and mounts more, one a line
start_with() {
    has_image "$1" >/dev/null || load_images "$1"
    create_containers "$@"
    start_apiserver "$1"
}

# The other kinds write their own files; EXTRA_MOUNTS are for those that mount.
start_with_files() {
    # shellcheck disable=SC2034,SC2086 # words
    APISERVER_ARGS=$(echo $APISERVER_ARGS $2) EXTRA_MOUNTS=$3
    per_kind bring_up_apiserver "$1"
}

# What is stored in the cluster when it is made
make_cluster_once() {
    [ ! -e "$DIR/run/made" ] || return 0
    per_kind cluster_made
    : >"$DIR/run/made"
}

# shellcheck disable=SC2016
command_start_apiserver() {
    local node with='' wait=yes flags='' mounts=''
    load
    node=$(node_name "${1:?usage: testbed start-apiserver NODE [--with FILE] [--no-wait]}")
    shift
    while [ $# -gt 0 ]; do
        case $1 in
        --with) with=${2:?} && shift ;;
        --no-wait) wait='' ;;
        *) die "start-apiserver: unknown argument '$1'" ;;
        esac
        shift
    done
    if [ -n "$with" ]; then
        flags=$(jq -r --arg a "$(address "$node")" '(.start // .).nodes[] | select(.address == $a) | .flags[]' "$with")
        mounts=$(jq -r --arg a "$(address "$node")" '(.start // .).nodes[] | select(.address == $a) | .mounts[]' "$with")
        [ -n "$flags" ] || die "$with tells no flag for $node"
    fi
    start_etcds
    prepare_node "$node"
    if [ "$KIND" = rke ]; then start_with "$node" "$flags" "$mounts"; else start_with_files "$node" "$flags" "$mounts"; fi
    [ -n "$wait" ] || return 0
    until_true 90 "the apiserver of $node (testbed log $node kube-apiserver)" apiserver_is_ready "$node"
    [ "$KIND" = rke ] || make_cluster_once
}

command_add_node() {
    local node
    load
    COUNT=$((COUNT + 1))
    node=node$COUNT
    [ -e "$DIR/run/$node.init" ] || die "there is no spare machine (testbed up --spare N)"
    sed -i "s/^COUNT=.*/COUNT=$COUNT/" "$DIR/instance"
    NODES+=("$node")
    write_kubeconfigs
    # (role, as nodes without etcd have it)
    if [ "$KIND" = rke ]; then cluster_yml_node "$node"; else kind_cluster_yml_node "$node"; fi |
        sed '/^ *- etcd$/d; s/, etcd]/]/' >"$DIR/node.yml"
    awk -v entry="$DIR/node.yml" -v before="$([ "$KIND" = rke ] && echo services: || echo ssh_key_path:)" 'index($0, before) == 1 { while ((getline line <entry) > 0) print line } { print }' "$DIR/cluster.yml" >"$DIR/cluster.yml.new"
    cat "$DIR/cluster.yml.new" >"$DIR/cluster.yml"
    rm "$DIR/cluster.yml.new" "$DIR/node.yml"
}

command_wipe_node() {
    local node
    load
    node=$(node_name "${1:?usage: testbed wipe-node NODE}")
    [ "${node#node}" -gt "$ETCD_COUNT" ] || die "$node has an etcd member"
    per_kind stop_all "$node"
    per_kind empty_node "$node"
}

# stop_all NODE: what start_with started, so that its files can go
stop_all() {
    local id
    for id in $(node_exec "$1" /usr/bin/docker ps -aq); do
        node_exec "$1" /usr/bin/docker rm -f -v "$id" >/dev/null
    done
    node_exec "$1" /usr/bin/docker image prune -af >/dev/null
}
