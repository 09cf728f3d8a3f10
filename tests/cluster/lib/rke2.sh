# shellcheck shell=bash
# Kinds rke2 and k3s: a stand-in for their servers (standin/rke2), as a unit that starts the real kube-apiserver.

rancher_top() { echo "/var/lib/rancher/$KIND/server"; }
rancher_unit() { if [ "$KIND" = rke2 ]; then echo rke2-server.service; else echo k3s.service; fi; }

rancher_node_init() { echo node-init-units; }
rancher_node_daemon() { :; }
rancher_node_daemon_is_up() { units_are_up "$1"; }
rancher_make_images() { :; }

rancher_node_files() {
    local dir unit
    dir=$(node_dir "$1")
    unit=$(rancher_unit)
    units_files "$1"
    cp "$HERE/standin/rke2" "$dir/bin/$KIND"
    rmdir "$dir/etc/kubernetes/ssl"
    mkdir -p "$dir"/var-lib/{dbus,systemd,sudo,misc} "$dir/etc/rancher/$KIND"
    printf 'write-kubeconfig-mode: "0600"\ntoken: a-token-of-the-testbed\nsecrets-encryption: true\n' >"$dir/etc/rancher/$KIND/config.yaml"
    chmod 600 "$dir/etc/rancher/$KIND/config.yaml"
    if [ "$KIND" = rke2 ]; then
        mkdir -p "$dir"/var-lib/rancher/rke2/{bin,agent/etc}
        cp "$HERE/standin/crictl" "$dir/var-lib/rancher/rke2/bin/crictl"
        echo 'runtime-endpoint: unix:///run/k3s/containerd/containerd.sock' >"$dir/var-lib/rancher/rke2/agent/etc/crictl.yaml"
    fi
    cat >"$dir/etc/systemd/system/$unit" <<-END
		[Unit]
		Description=A stand-in for the server of $KIND
		After=network.target

		[Service]
		Type=notify
		ExecStart=/usr/local/bin/$KIND server
		KillMode=process
		TimeoutStartSec=0
		Restart=always
		RestartSec=2s

		[Install]
		WantedBy=multi-user.target
	END
}

# The machine's /var/lib is not the node's: what a kind's server has there is.
rancher_node_started() { node_exec "$1" mount --bind "$(node_dir "$1")/var-lib" /var/lib; }

rancher_install_pki() {
    local top tls a
    a=$(address "$1")
    top=$(node_dir "$1")/var-lib/rancher/$KIND/server
    tls=$top/tls
    mkdir -p "$tls/etcd" "$top/standin" "$top/db/etcd/member/wal"
    chmod -R go= "$top"
    cp "$PKI"/*.pem "$tls/"
    cp "$PKI/kube-ca.pem" "$tls/server-ca.crt"
    cp "$PKI/kube-admin.pem" "$tls/client-admin.crt"
    cp "$PKI/kube-admin-key.pem" "$tls/client-admin.key"
    cp "$PKI/kube-ca.pem" "$tls/etcd/server-ca.crt"
    cp "$PKI/kube-node.pem" "$tls/etcd/client.crt"
    cp "$PKI/kube-node-key.pem" "$tls/etcd/client.key"
    cp "$PKI/kube-etcd-${a//./-}.pem" "$tls/etcd/server-client.crt"
    cp "$PKI/kube-etcd-${a//./-}-key.pem" "$tls/etcd/server-client.key"
    # shellcheck disable=SC2086 # the extra arguments are words
    { apiserver_flags "$1"; [ -z "$APISERVER_ARGS" ] || printf '%s\n' $APISERVER_ARGS; } |
        sed "s|--etcd-cafile=.*|--etcd-cafile=$(rancher_top)/tls/etcd/server-ca.crt|
             s|/etc/kubernetes/ssl/kube-node.pem|$(rancher_top)/tls/etcd/client.crt|
             s|/etc/kubernetes/ssl/kube-node-key.pem|$(rancher_top)/tls/etcd/client.key|
             s|--etcd-servers=.*|--etcd-servers=https://127.0.0.1:2379|
             s|/etc/kubernetes/ssl|$(rancher_top)/tls|" >"$top/standin/flags"
    cp -lL "$APISERVER" "$top/standin/kube-apiserver" 2>/dev/null || cp -L "$APISERVER" "$top/standin/kube-apiserver"
    (
        umask 077
        kubeconfig_for "$1" | sed 's|server: .*|server: "https://127.0.0.1:6443"|' >"$(node_dir "$1")/etc/rancher/$KIND/$KIND.yaml"
    )
}

rancher_etcd_files() { printf '%s\n' "$(rancher_top)"/tls/etcd/{server-ca.crt,server-client.crt,server-client.key}; }

rancher_bring_up_apiserver() {
    node_exec "$1" systemctl daemon-reload
    node_exec "$1" systemctl enable --quiet "$(rancher_unit)"
    node_exec "$1" systemctl start --no-block "$(rancher_unit)"
}

rancher_write_cluster_yml() {
    {
        kind_cluster_yml
        echo "kubernetes_version: v1.20.2+${KIND}1"
    } >"$DIR/cluster.yml"
}
# The operator has no kubeconfig: it is on the nodes.
rancher_cluster_kubeconfig() { echo "$DIR/testbed/kubeconfig"; }

rancher_cluster_made() {
    local node
    for node in "${NODES[@]}"; do
        until_true 60 "the server of $node (testbed log $node kube-apiserver)" node_exec "$node" systemctl is-active "$(rancher_unit)" || return 1
    done
}
rancher_restarts() { unit_restarts "$1" "$(rancher_unit)"; }
rancher_flags() { cat "$(node_dir "$1")/var-lib/rancher/$KIND/server/standin/flags"; }
rancher_apiserver_log() {
    unit_log "$1" "$(rancher_unit)"
    cat "$(node_dir "$1")/var-lib/rancher/$KIND/server/standin/kube-apiserver.log"
}

for hook in $(declare -F | sed -n 's/^declare -f rancher_//p'); do
    eval "rke2_$hook() { rancher_$hook \"\$@\"; }; k3s_$hook() { rancher_$hook \"\$@\"; }"
done
