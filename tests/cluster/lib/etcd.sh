# shellcheck shell=bash
# One etcd member a node: TLS and client certificates as RKE's. A process of the node, not a container.

# The members are those of the first `up`: nodes that are added later have none.
etcd_nodes() { seq -f 'node%g' 1 "$ETCD_COUNT"; }

etcd_urls() {
    local node urls=()
    for node in $(etcd_nodes); do urls+=("https://$(address "$node"):2379"); done
    (IFS=,; echo "${urls[*]}")
}

# etcd_files NODE: its CA, certificate and key, one a line
etcd_files() {
    local cert
    cert=/etc/kubernetes/ssl/kube-etcd-$(address "$1" | tr . -)
    printf '%s\n' /etc/kubernetes/ssl/kube-ca.pem "$cert.pem" "$cert-key.pem"
}

start_etcd() {
    local node=$1 a n files cluster=()
    a=$(address "$node")
    for n in $(etcd_nodes); do cluster+=("etcd-$n=https://$(address "$n"):2380"); done
    mapfile -t files < <(per_kind etcd_files "$node")
    node_spawn "$node" etcd env "${ETCD:-/usr/bin/etcd}" --name "etcd-$node" --data-dir "$(node_dir "$node")/etcd" \
        --listen-client-urls https://0.0.0.0:2379 --advertise-client-urls "https://$a:2379" \
        --listen-peer-urls https://0.0.0.0:2380 --initial-advertise-peer-urls "https://$a:2380" \
        --initial-cluster "$(IFS=,; echo "${cluster[*]}")" --initial-cluster-state new --initial-cluster-token etcd-cluster-1 \
        --client-cert-auth --trusted-ca-file "${files[0]}" --cert-file "${files[1]}" --key-file "${files[2]}" \
        --peer-client-cert-auth --peer-trusted-ca-file "${files[0]}" --peer-cert-file "${files[1]}" --peer-key-file "${files[2]}" \
        --heartbeat-interval 500 --election-timeout 5000 --log-level warn --logger zap
}

# Runs where the nodes can be reached: on this machine, or in the bastion's network where the nodes are hidden from it.
near() {
    if [ -n "${BASTION:-}" ]; then nsenter --net="/var/run/netns/$(netns bastion)" "$@"; else "$@"; fi
}

etcdctl_() {
    ETCDCTL_API=3 near etcdctl --endpoints "$(etcd_urls)" --cacert "$DIR/pki/kube-ca.pem" --cert "$DIR/pki/kube-node.pem" \
        --key "$DIR/pki/kube-node-key.pem" "$@"
}
