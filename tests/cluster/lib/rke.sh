# shellcheck shell=bash
# What `rke up` leaves beside cluster.yml: the state file and a kubeconfig; and the operator's known_hosts.

# kubeconfig_for NODE
kubeconfig_for() {
    cat <<-END
		apiVersion: v1
		kind: Config
		clusters:
		- cluster:
		    api-version: v1
		    certificate-authority-data: $(base64 -w0 "$DIR/pki/kube-ca.pem")
		    server: "https://$(address "$1"):$(per_kind apiserver_port)"
		  name: "local"
		contexts:
		- context:
		    cluster: "local"
		    user: "kube-admin-local"
		  name: "local"
		current-context: "local"
		users:
		- name: "kube-admin-local"
		  user:
		    client-certificate-data: $(base64 -w0 "$DIR/pki/kube-admin.pem")
		    client-key-data: $(base64 -w0 "$DIR/pki/kube-admin-key.pem")
	END
}

apiserver_port() { echo 6443; }
etcd_prefix() { echo /registry; }

# Where the testbed's own kubeconfig is: RKE leaves one beside cluster.yml
cluster_kubeconfig() { echo "$DIR/kube_config_cluster.yml"; }

# shellcheck disable=SC2153
write_kubeconfigs() {
    local node
    (
        umask 077
        mkdir -p "$(dirname "$(per_kind cluster_kubeconfig)")"
        kubeconfig_for node1 >"$(per_kind cluster_kubeconfig)"
        for node in "${NODES[@]}"; do kubeconfig_for "$node" >"$DIR/kubeconfig-$node"; done
    )
}

write_known_hosts() {
    local node key
    for node in "${NODES[@]}" ${BASTION:+bastion}; do
        for key in "$(node_dir "$node")"/etc/ssh/ssh_host_*_key.pub; do
            echo "$(address "$node") $(cut -d' ' -f1,2 "$key")"
        done
    done >"$DIR/known_hosts"
}

# cluster_yml_node NODE: its entry
cluster_yml_node() {
    local node=$1
    cat <<-END
		- address: $(address "$node")
		  port: "22"
		  internal_address: $(address "$node")
		  role:
		  - controlplane
		  - worker
		  - etcd
		  hostname_override: $node
		  user: $NODE_USER
		  docker_socket: /var/run/docker.sock
		  ssh_key: ""
		  ssh_key_path: $DIR/keys/id_ed25519
		  ssh_cert: ""
		  ssh_cert_path: ""
		  labels: {}
		  taints: []
	END
}

# For kinds that are not RKE's: the machines, and the place for the settings of encryption
kind_cluster_yml_node() {
    cat <<-END
		- address: $(address "$1")
		  role: [controlplane, etcd]
		  hostname_override: $1
		  user: $NODE_USER
	END
}

kind_cluster_yml() {
    local node
    echo 'nodes:'
    for node in "${NODES[@]}"; do kind_cluster_yml_node "$node"; done
    cat <<-END
		ssh_key_path: $DIR/keys/id_ed25519
		services:
		  # as RKE's cluster.yml has it
		  kube-api:
		    extra_binds: []
	END
    [ -z "$BASTION" ] || cat <<-END
		bastion_host:
		  address: $(address bastion)
		  user: $NODE_USER
		  ssh_key_path: $DIR/keys/id_ed25519
	END
}

write_cluster_yml() {
    local node
    {
        cat <<-END
			# If you intended to deploy Kubernetes in an air-gapped environment,
			# please consult the documentation on how to configure custom RKE images.
			nodes:
		END
        for node in "${NODES[@]}"; do cluster_yml_node "$node"; done
        cat <<-'END'
			services:
			  etcd:
			    image: ""
			    extra_args:
			      election-timeout: "5000"
			      heartbeat-interval: "500"
			    extra_binds: []
			    extra_env: []
			    external_urls: []
			    ca_cert: ""
			    cert: ""
			    key: ""
			    path: ""
			    uid: 0
			    gid: 0
			    snapshot: null
			    retention: ""
			    creation: ""
			    backup_config: null
			  kube-api:
			    image: ""
			    extra_args: {}
			    extra_binds: []
			    extra_env: []
			    service_cluster_ip_range: 10.43.0.0/16
			    service_node_port_range: "30000-32767"
			    pod_security_policy: false
			    always_pull_images: false
			    audit_log: null
			    admission_configuration: null
			    event_rate_limit: null
			  kube-controller:
			    image: ""
			    extra_args: {}
			    cluster_cidr: 10.42.0.0/16
			    service_cluster_ip_range: 10.43.0.0/16
			  scheduler:
			    image: ""
			    extra_args: {}
			  kubelet:
			    image: ""
			    extra_args:
			      max-pods: 110   # the default
			    cluster_domain: cluster.local
			    infra_container_image: ""
			    cluster_dns_server: 10.43.0.10
			    fail_swap_on: false
			    generate_serving_certificate: false
			  kubeproxy:
			    image: ""
			    extra_args: {}
			network:
			  plugin: canal
			  options:
			    canal_flannel_backend_type: vxlan
			  mtu: 0
			  node_selector: {}
			  update_strategy: null
			authentication:
			  strategy: x509
			  sans: []
			  webhook: null
			addons: |-
			  ---
			  apiVersion: v1
			  kind: ConfigMap
			  metadata:
			    name: note   # "a" < 'b' & so on
			    namespace: default
			  data:
			    text: ${NOT_A_VARIABLE}
			addons_include: []
			system_images: {}
		END
        cat <<-END
			ssh_key_path: $DIR/keys/id_ed25519
			ssh_cert_path: ""
			ssh_agent_auth: false
			authorization:
			  mode: rbac
			  options: {}
			ignore_docker_version: null
			kubernetes_version: v1.20.2-rancher1-1
			private_registries: []
			ingress:
			  provider: nginx
			  options: {}
			  node_selector: {}
			  extra_args: {}
			  dns_policy: ""
			  http_port: 80
			  https_port: 443
			  network_mode: hostPort
			cluster_name: ""
			cloud_provider:
			  name: ""
			prefix_path: ""
			win_prefix_path: ""
			addon_job_timeout: 45
			bastion_host:
			  address: "$([ -z "$BASTION" ] || address bastion)"
			  port: "$([ -z "$BASTION" ] || echo 22)"
			  user: "$([ -z "$BASTION" ] || echo "$NODE_USER")"
			  ssh_key: ""
			  ssh_key_path: "$([ -z "$BASTION" ] || echo "$DIR/keys/id_ed25519")"
			  ssh_cert: ""
			  ssh_cert_path: ""
			monitoring:
			  provider: metrics-server
			  options: {}
			  replicas: 1
			restore:
			  restore: false
			  snapshot_name: ""
			rotate_encryption_key: false
			dns: null
		END
    } >"$DIR/cluster.yml"
}

cluster_made() { write_rkestate; }

write_rkestate() {
    local nodes=() node
    for node in "${NODES[@]}"; do nodes+=("$node=$(address "$node")"); done
    /usr/bin/python3 "$LIB/rke_state.py" "$DIR" "$NODE_USER" "${BASTION:+$(address bastion)}" "${nodes[@]}"
}
