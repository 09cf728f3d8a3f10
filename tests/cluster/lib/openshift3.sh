# shellcheck shell=bash
# Kind openshift3: a master as openshift-ansible leaves it up to 3.9: /etc/origin/master with master-config.yaml, and two units. What is
# started by them is a stand-in (lib/openshift): it reads master-config.yaml as `openshift start master` does, and becomes the real
# kube-apiserver with the flags that stand there.

OPENSHIFT3_API=origin-master-api.service
OPENSHIFT3_CONTROLLERS=origin-master-controllers.service

openshift3_apiserver_port() { echo 8443; }
openshift3_etcd_prefix() { echo /kubernetes.io; }
openshift3_node_init() { echo node-init-units; }
openshift3_node_daemon() { :; }
openshift3_node_daemon_is_up() { units_are_up "$1"; }
openshift3_make_images() { :; }

openshift3_node_files() {
    local etc
    etc=$(node_dir "$1")/etc
    units_files "$1"
    units_program "$1" "$APISERVER"
    units_program "$1" "$LIB/openshift"
    rm -rf "$etc/kubernetes"
    mkdir -p "$etc/origin/master" "$etc/etcd" "$etc/sysconfig"
    chmod 700 "$etc/origin/master"
}

# OpenShift's names for what make_cluster_pki made
openshift3_install_pki() {
    local node=$1 etc master from to
    etc=$(node_dir "$node")/etc
    master=$etc/origin/master
    mkdir -p -m 700 "$master"
    mkdir -p "$etc/etcd" "$etc/sysconfig"
    while read -r from to; do
        cp "$PKI/$from.pem" "$master/$to.crt"
        chmod 644 "$master/$to.crt"
        [ "${to##*ca}" = '' ] || install -m 600 "$PKI/$from-key.pem" "$master/$to.key"
    done <<-END
		kube-ca ca
		kube-apiserver master.server
		kube-apiserver master.kubelet-client
		kube-apiserver-requestheader-ca front-proxy-ca
		kube-apiserver-proxy-client aggregator-front-proxy
		kube-ca master.etcd-ca
		kube-node master.etcd-client
		kube-controller-manager openshift-master
	END
    install -m 600 "$PKI/kube-service-account-token-key.pem" "$master/serviceaccounts.private.key"
    openssl rsa -in "$master/serviceaccounts.private.key" -pubout -out "$master/serviceaccounts.public.key" 2>/dev/null
    install -m 600 "$PKI/kube-ca.pem" "$etc/etcd/ca.crt"
    install -m 600 "$PKI/kube-etcd-$(address "$node" | tr . -).pem" "$etc/etcd/server.crt"
    install -m 600 "$PKI/kube-etcd-$(address "$node" | tr . -)-key.pem" "$etc/etcd/server.key"
    (umask 077 && kubeconfig_for "$node" | sed 's/kube-admin-local/system:admin/; s/"local"/"openshift"/; /api-version/d' >"$master/admin.kubeconfig")
}

openshift3_pki_folder() { echo "$(node_dir "$1")/etc/origin/master"; }
openshift3_empty_node() { rm -rf "$(node_dir "$1")"/etc/{origin,etcd}; }

openshift3_stop_all() {
    node_exec "$1" systemctl disable --quiet --now "$OPENSHIFT3_CONTROLLERS" "$OPENSHIFT3_API" || true
    rm -f "$(node_dir "$1")/etc/systemd/system/"{"$OPENSHIFT3_API","$OPENSHIFT3_CONTROLLERS"}
    node_exec "$1" systemctl daemon-reload
}

openshift3_etcd_files() { printf '%s\n' /etc/etcd/ca.crt /etc/etcd/server.crt /etc/etcd/server.key; }

openshift3_master_config() {
    cat <<-END
		admissionConfig:
		  pluginConfig: {}
		aggregatorConfig:
		  proxyClientInfo:
		    certFile: aggregator-front-proxy.crt
		    keyFile: aggregator-front-proxy.key
		apiLevels:
		- v1
		apiVersion: v1
		authConfig:
		  requestHeader:
		    clientCA: front-proxy-ca.crt
		    clientCommonNames:
		    - kube-apiserver-proxy-client
		    extraHeaderPrefixes:
		    - X-Remote-Extra-
		    groupHeaders:
		    - X-Remote-Group
		    usernameHeaders:
		    - X-Remote-User
		controllers: '*'
		corsAllowedOrigins:
		  # anchor with start (\A) and end (\z) of the string
		  - (?i)//127\.0\.0\.1(:|\z)
		etcdClientInfo:
		  ca: master.etcd-ca.crt
		  certFile: master.etcd-client.crt
		  keyFile: master.etcd-client.key
		  urls:
		$(for node in $(etcd_nodes); do echo "    - https://$(address "$node"):2379"; done)
		etcdStorageConfig:
		  kubernetesStoragePrefix: kubernetes.io
		  kubernetesStorageVersion: v1
		  openShiftStoragePrefix: openshift.io
		  openShiftStorageVersion: v1
		kind: MasterConfig
		kubeletClientInfo:
		  ca: ca.crt
		  certFile: master.kubelet-client.crt
		  keyFile: master.kubelet-client.key
		  port: 10250
		kubernetesMasterConfig:
		  apiServerArguments:
		    # of the testbed: there are no service accounts
		    disable-admission-plugins:
		    - ServiceAccount
	END
    # shellcheck disable=SC2086 # the extra arguments are words
    [ -z "$APISERVER_ARGS" ] || printf '%s\n' $APISERVER_ARGS | sed -E "s/^--([^=]*)=(.*)/    \1:\n    - '\2'/"
    cat <<-END
		    storage-backend:
		    - etcd3
		    storage-media-type:
		    - application/vnd.kubernetes.protobuf
		  controllerArguments:
		  masterCount: $COUNT
		  masterIP: $(address "$1")
		  podEvictionTimeout:
		  proxyClientInfo:
		    certFile: master.proxy-client.crt
		    keyFile: master.proxy-client.key
		  servicesNodePortRange: ""
		  servicesSubnet: 10.43.0.0/16
		  staticNodeNames: []
		masterPublicURL: https://$(address "$1"):8443
		networkConfig:
		# serviceNetworkCIDR must match kubernetesMasterConfig.servicesSubnet
		  serviceNetworkCIDR: 10.43.0.0/16
		serviceAccountConfig:
		  privateKeyFile: serviceaccounts.private.key
		  publicKeyFiles:
		  - serviceaccounts.public.key
		servingInfo:
		  bindAddress: 0.0.0.0:8443
		  bindNetwork: tcp4
		  certFile: master.server.crt
		  clientCA: ca.crt
		  keyFile: master.server.key
		  maxRequestsInFlight: 500
		  requestTimeoutSeconds: 3600
	END
}

# openshift3_unit NODE UNIT PART TYPE MORE
openshift3_unit() {
    local name=${2%.service} etc
    etc=$(node_dir "$1")/etc
    printf 'OPTIONS=--loglevel=2\nCONFIG_FILE=/etc/origin/master/master-config.yaml\n' >"$etc/sysconfig/$name"
    cat >"$etc/systemd/system/$2" <<-END
		[Unit]
		Description=Origin Master ${3^}
		After=network.target
		$5

		[Service]
		Type=$4
		EnvironmentFile=/etc/sysconfig/$name
		ExecStart=/usr/local/bin/openshift start master $3 --config=\${CONFIG_FILE} \$OPTIONS
		LimitNOFILE=131072
		SyslogIdentifier=$name
		Restart=always
		RestartSec=2s
		TimeoutStartSec=300

		[Install]
		WantedBy=multi-user.target
	END
}

openshift3_bring_up_apiserver() {
    local node=$1
    (umask 077 && openshift3_master_config "$node" >"$(node_dir "$node")/etc/origin/master/master-config.yaml")
    openshift3_unit "$node" "$OPENSHIFT3_API" api notify "Before=$OPENSHIFT3_CONTROLLERS"
    openshift3_unit "$node" "$OPENSHIFT3_CONTROLLERS" controllers simple "Wants=$OPENSHIFT3_API"$'\n'"After=$OPENSHIFT3_API"
    node_exec "$node" systemctl daemon-reload
    node_exec "$node" systemctl enable --quiet "$OPENSHIFT3_API" "$OPENSHIFT3_CONTROLLERS"
    node_exec "$node" systemctl start --no-block "$OPENSHIFT3_API" "$OPENSHIFT3_CONTROLLERS"
}

# Not beside cluster.yml: the program is to find that of the nodes.
openshift3_cluster_kubeconfig() { echo "$DIR/kubectl/config"; }
openshift3_write_cluster_yml() { kind_cluster_yml >"$DIR/cluster.yml"; }
openshift3_cluster_made() { :; }

openshift3_restarts() {
    unit_restarts "$1" "$OPENSHIFT3_API"
    unit_restarts "$1" "$OPENSHIFT3_CONTROLLERS"
}

openshift3_flags() { unit_flags "$1" "$OPENSHIFT3_API"; }
openshift3_apiserver_log() { unit_log "$1" "$OPENSHIFT3_API"; }
