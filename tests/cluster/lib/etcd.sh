# shellcheck shell=bash
# One etcd member a node: TLS and client certificates as RKE's. A process of the node, not a container.

# The members are those of the first `up`: nodes that are added later have none.
etcd_nodes() { seq -f 'node%g' 1 "$ETCD_COUNT"; }

etcd_urls() {
    local node urls=()
    for node in $(etcd_nodes); do urls+=("https://$(address "$node"):2379"); done
    (IFS=,; echo "${urls[*]}")
}

start_etcd() {
    local node=$1 a n ssl=/etc/kubernetes/ssl cluster=() cert
    a=$(address "$node")
    for n in $(etcd_nodes); do cluster+=("etcd-$n=https://$(address "$n"):2380"); done
    cert=$ssl/kube-etcd-${a//./-}
    node_spawn "$node" etcd env "${ETCD:-/usr/bin/etcd}" --name "etcd-$node" --data-dir "$(node_dir "$node")/etcd" \
        --listen-client-urls https://0.0.0.0:2379 --advertise-client-urls "https://$a:2379" \
        --listen-peer-urls https://0.0.0.0:2380 --initial-advertise-peer-urls "https://$a:2380" \
        --initial-cluster "$(IFS=,; echo "${cluster[*]}")" --initial-cluster-state new --initial-cluster-token etcd-cluster-1 \
        --client-cert-auth --trusted-ca-file $ssl/kube-ca.pem --cert-file "$cert.pem" --key-file "$cert-key.pem" \
        --peer-client-cert-auth --peer-trusted-ca-file $ssl/kube-ca.pem --peer-cert-file "$cert.pem" --peer-key-file "$cert-key.pem" \
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
