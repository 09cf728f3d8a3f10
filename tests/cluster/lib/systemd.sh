# shellcheck shell=bash
# Kind systemd: kube-apiserver is a unit, as "Kubernetes the hard way" and CentOS 7's packages have it: a part of its flags stands in
# ExecStart over many lines, a part comes from an environment file.

SYSTEMD_UNIT=kube-apiserver.service
SYSTEMD_PKI=/etc/kubernetes/pki

systemd_node_files() {
    units_files "$1"
    units_program "$1" "$APISERVER"
    rmdir "$(node_dir "$1")/etc/kubernetes/ssl"
}
systemd_node_init() { echo node-init-units; }
systemd_node_daemon() { :; }
systemd_node_daemon_is_up() { units_are_up "$1"; }
systemd_make_images() { :; }

systemd_install_pki() {
    local pki
    pki=$(node_dir "$1")$SYSTEMD_PKI
    mkdir -p "$pki"
    cp "$PKI"/*.pem "$pki/"
    rm "$pki"/kube-admin*.pem
    chmod 600 "$pki"/*.pem
}

systemd_pki_folder() { echo "$(node_dir "$1")$SYSTEMD_PKI"; }

systemd_stop_all() {
    node_exec "$1" systemctl disable --quiet --now "$SYSTEMD_UNIT" || true
    rm -rf "$(node_dir "$1")/etc/systemd/system/$SYSTEMD_UNIT"{,.d}
    node_exec "$1" systemctl daemon-reload
}

systemd_etcd_files() { etcd_files "$1" | sed "s|/etc/kubernetes/ssl|$SYSTEMD_PKI|"; }

# systemd_unit NODE: the unit's file and its environment files. Of the flags those that ought to be in the file go there.
systemd_unit() {
    local node=$1 etc flags own
    etc=$(node_dir "$node")/etc
    # shellcheck disable=SC2086 # the extra arguments are words
    flags=$({ apiserver_flags "$node" | sed "s|/etc/kubernetes/ssl|$SYSTEMD_PKI|"; [ -z "$APISERVER_ARGS" ] || printf '%s\n' $APISERVER_ARGS; })
    own='^--(etcd-servers|service-cluster-ip-range|advertise-address|enable-admission-plugins|disable-admission-plugins)='
    cat >"$etc/kubernetes/apiserver" <<-END
		# kubernetes system config
		# The following values are used to configure the kube-apiserver
		KUBE_ETCD_SERVERS="$(grep -E '^--etcd-servers=' <<<"$flags")"
		KUBE_SERVICE_ADDRESSES="$(grep -E '^--service-cluster-ip-range=' <<<"$flags")"
		# Add your own!
		KUBE_API_ARGS="$(grep -E "$own" <<<"$flags" | grep -vE '^--(etcd-servers|service-cluster-ip-range)=' | paste -sd ' ')"
	END
    {
        cat <<-END
			[Unit]
			Description=Kubernetes API Server
			Documentation=https://github.com/kubernetes/kubernetes
			After=network.target

			[Service]
			Type=notify
			EnvironmentFile=-/etc/kubernetes/config
			EnvironmentFile=/etc/kubernetes/apiserver
			ExecStart=/usr/local/bin/kube-apiserver \\
		END
        grep -vE "$own" <<<"$flags" | sed 's/^/  /; s/$/ \\/'
        # shellcheck disable=SC2016
        echo '  $KUBE_ETCD_SERVERS $KUBE_SERVICE_ADDRESSES $KUBE_API_ARGS'
        cat <<-END
			Restart=always
			RestartSec=1
			TimeoutStartSec=0
			LimitNOFILE=65536

			[Install]
			WantedBy=multi-user.target
		END
    } >"$etc/systemd/system/$SYSTEMD_UNIT"
}

systemd_bring_up_apiserver() {
    systemd_unit "$1"
    node_exec "$1" systemctl daemon-reload
    node_exec "$1" systemctl enable --quiet "$SYSTEMD_UNIT"
    node_exec "$1" systemctl start --no-block "$SYSTEMD_UNIT"
}

systemd_write_cluster_yml() { kind_cluster_yml >"$DIR/cluster.yml"; }
systemd_cluster_made() { :; }
systemd_restarts() { unit_restarts "$1" "$SYSTEMD_UNIT"; }
systemd_flags() { unit_flags "$1" "$SYSTEMD_UNIT"; }
systemd_apiserver_log() { unit_log "$1" "$SYSTEMD_UNIT"; }
