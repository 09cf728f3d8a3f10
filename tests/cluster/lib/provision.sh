# shellcheck shell=bash
# What a provisioner does by and by: nodes that begin bare, join, or are replaced.

has_image() { docker_api "$1" GET "/images/$IMAGE/json" 2>/dev/null; }

# prepare_node NODE: all that an apiserver needs but what `encrypt` puts there. Idempotent.
prepare_node() {
    local node=$1
    mkdir -p "$(node_dir "$node")/etc/kubernetes/ssl"
    [ -e "$(node_dir "$node")/etc/kubernetes/ssl/kube-ca.pem" ] || install_pki "$node"
    has_image "$node" >/dev/null || load_images "$node"
}

# Each member's etcd, where it doesn't run
start_etcds() {
    local node
    for node in $(etcd_nodes); do
        mkdir -p "$(node_dir "$node")/etc/kubernetes/ssl"
        [ -e "$(node_dir "$node")/etc/kubernetes/ssl/kube-ca.pem" ] || install_pki "$node"
        node_process "$node" etcd >/dev/null || start_etcd "$node"
    done
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
    create_containers "$node" "$flags" "$mounts"
    start_apiserver "$node"
    [ -z "$wait" ] || until_true 90 "the apiserver of $node (testbed log $node kube-apiserver)" apiserver_is_ready "$node"
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
    cluster_yml_node "$node" | sed '/^ *- etcd$/d' >"$DIR/node.yml"
    awk -v entry="$DIR/node.yml" '/^services:/ { while ((getline line <entry) > 0) print line } { print }' "$DIR/cluster.yml" >"$DIR/cluster.yml.new"
    cat "$DIR/cluster.yml.new" >"$DIR/cluster.yml"
    rm "$DIR/cluster.yml.new" "$DIR/node.yml"
}

command_wipe_node() {
    local node id
    load
    node=$(node_name "${1:?usage: testbed wipe-node NODE}")
    [ "${node#node}" -gt "$ETCD_COUNT" ] || die "$node has an etcd member"
    for id in $(node_exec "$node" /usr/bin/docker ps -aq); do
        node_exec "$node" /usr/bin/docker rm -f -v "$id" >/dev/null
    done
    node_exec "$node" /usr/bin/docker image prune -af >/dev/null
    rm -rf "$(node_dir "$node")/etc/kubernetes"
}
