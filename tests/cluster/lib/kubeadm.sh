# shellcheck shell=bash
# Kind kubeadm: a real kubelet on each node, on the node's dockerd, that runs kube-apiserver as a static pod, with the files that
# `kubeadm init` and `join` of 1.20 leave. The kubelet is standalone: it has no kubeconfig, so there are no mirror pods and no Node objects.

KUBEADM_IMAGE=k8s.gcr.io/kube-apiserver:v1.20.2
KUBEADM_PAUSE=k8s.gcr.io/pause:3.2

kubeadm_needs() {
    "$HERE/build-kubernetes" kubelet
}

# The image of kube-apiserver has the program and nothing else, no shell either.
kubeadm_make_images() {
    local root=$DIR/image/root
    mkdir -p "$root/usr/local/bin" "$root/etc"
    cp "$APISERVER" "$root/usr/local/bin/kube-apiserver"
    chmod 755 "$root/usr/local/bin/kube-apiserver"
    tar -C "$root" -c . >"$DIR/image/kube-apiserver.tar"
    rm -rf "$root"
    mkdir -p "$root/bin"
    cp /bin/busybox "$root/bin/busybox"
    ln -s busybox "$root/bin/sh"
    tar -C "$root" -c . >"$DIR/image/pause.tar"
    rm -rf "$root"
}

kubeadm_node_files() {
    local node=$1 dir
    dir=$(node_dir "$node")
    mkdir -p "$dir"/{var-log,kubelet} "$dir/etc/kubernetes"/{manifests,pki/etcd}
    rmdir "$dir/etc/kubernetes/ssl"
    chmod 700 "$dir/etc/kubernetes/manifests"
    # Each pod's sandbox is given a negative OOM score, which needs CAP_SYS_RESOURCE: where root lacks it, the runtime is told another.
    cat >"$dir/etc/docker/runc" <<-'END'
		#!/bin/bash
		# runc, with the OOM score of the container left as it is
		args=("$@")
		while [ $# -gt 0 ]; do
		    case $1 in
		    --bundle | -b) bundle=$2 ;;
		    esac
		    shift
		done
		if [ -n "${bundle:-}" ]; then
		    jq '.process.oomScoreAdj = 0' "$bundle/config.json" >"$bundle/config.json.new" && mv "$bundle/config.json.new" "$bundle/config.json"
		fi
		exec runc "${args[@]}"
	END
    chmod 755 "$dir/etc/docker/runc"
    echo '{"runtimes": {"testbed": {"path": "/etc/docker/runc"}}, "default-runtime": "testbed"}' >"$dir/etc/docker/daemon.json"
}

kubeadm_node_started() {
    local node=$1 dir
    dir=$(node_dir "$node")
    node_exec "$node" mount --bind "$dir/var-log" /var/log
}

# kubeadm's names for what make_cluster_pki made
kubeadm_install_pki() {
    local node=$1 pki a from to
    a=$(address "$node")
    pki=$(node_dir "$node")/etc/kubernetes/pki
    mkdir -p "$pki/etcd"
    while read -r from to; do
        cp "$PKI/$from.pem" "$pki/$to.crt"
        chmod 644 "$pki/$to.crt"
        [ ! -e "$PKI/$from-key.pem" ] || cp "$PKI/$from-key.pem" "$pki/$to.key"
        chmod 600 "$pki/$to.key"
    done <<-END
		kube-ca ca
		kube-apiserver apiserver
		kube-apiserver apiserver-kubelet-client
		kube-apiserver-requestheader-ca front-proxy-ca
		kube-apiserver-proxy-client front-proxy-client
		kube-ca etcd/ca
		kube-node apiserver-etcd-client
		kube-etcd-${a//./-} etcd/server
		kube-etcd-${a//./-} etcd/peer
	END
    cp "$PKI/kube-service-account-token-key.pem" "$pki/sa.key"
    openssl rsa -in "$pki/sa.key" -pubout -out "$pki/sa.pub" 2>/dev/null
    chmod 600 "$pki/sa.key" "$pki/sa.pub"
    (umask 077 && kubeconfig_for "$node" | sed 's/kube-admin-local/kubernetes-admin/; s/"local"/"kubernetes"/; /api-version/d' \
        >"$(node_dir "$node")/etc/kubernetes/admin.conf")
}

kubeadm_pki_folder() { echo "$(node_dir "$1")/etc/kubernetes/pki"; }

# The kubelet stays: without manifests it runs nothing.
kubeadm_stop_all() {
    rm -f "$(node_dir "$1")"/etc/kubernetes/manifests/*.yaml
    until_true 60 "the end of the apiserver of $1" kubeadm_has_no_container "$1"
}
kubeadm_has_no_container() { [ -z "$(kubeadm_apiserver_container "$1")" ] && ! node_process "$1" kube-apiserver; }

kubeadm_etcd_files() {
    local pki=/etc/kubernetes/pki/etcd
    printf '%s\n' "$pki/ca.crt" "$pki/server.crt" "$pki/server.key"
}

kubeadm_manifest() {
    local node=$1 a pki=/etc/kubernetes/pki mount n=0
    a=$(address "$node")
    cat <<-END
		apiVersion: v1
		kind: Pod
		metadata:
		  annotations:
		    kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint: $a:6443
		  creationTimestamp: null
		  labels:
		    component: kube-apiserver
		    tier: control-plane
		  name: kube-apiserver
		  namespace: kube-system
		spec:
		  containers:
		  - command:
		    - kube-apiserver
		    - --advertise-address=$a
		    - --allow-privileged=true
		    - --authorization-mode=Node,RBAC
		    - --client-ca-file=$pki/ca.crt
		    - --disable-admission-plugins=ServiceAccount
		    - --enable-admission-plugins=NodeRestriction
		    - --enable-bootstrap-token-auth=true
		    - --etcd-cafile=$pki/etcd/ca.crt
		    - --etcd-certfile=$pki/apiserver-etcd-client.crt
		    - --etcd-keyfile=$pki/apiserver-etcd-client.key
		    - --etcd-servers=$(etcd_urls)
		    - --insecure-port=0
		    - --kubelet-client-certificate=$pki/apiserver-kubelet-client.crt
		    - --kubelet-client-key=$pki/apiserver-kubelet-client.key
		    - --kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname
		    - --proxy-client-cert-file=$pki/front-proxy-client.crt
		    - --proxy-client-key-file=$pki/front-proxy-client.key
		    - --requestheader-allowed-names=kube-apiserver-proxy-client
		    - --requestheader-client-ca-file=$pki/front-proxy-ca.crt
		    - --requestheader-extra-headers-prefix=X-Remote-Extra-
		    - --requestheader-group-headers=X-Remote-Group
		    - --requestheader-username-headers=X-Remote-User
		    - --secure-port=6443
		    - --service-account-issuer=https://kubernetes.default.svc.cluster.local
		    - --service-account-key-file=$pki/sa.pub
		    - --service-account-signing-key-file=$pki/sa.key
		    - --service-cluster-ip-range=10.43.0.0/16
		    - --tls-cert-file=$pki/apiserver.crt
		    - --tls-private-key-file=$pki/apiserver.key
	END
    # shellcheck disable=SC2086 # the extra arguments are words
    [ -z "$APISERVER_ARGS" ] || printf '    - %s\n' $APISERVER_ARGS
    cat <<-END
		    image: $KUBEADM_IMAGE
		    imagePullPolicy: IfNotPresent
		    livenessProbe:
		      failureThreshold: 8
		      httpGet:
		        host: $a
		        path: /livez
		        port: 6443
		        scheme: HTTPS
		      initialDelaySeconds: 10
		      periodSeconds: 10
		      timeoutSeconds: 15
		    name: kube-apiserver
		    readinessProbe:
		      failureThreshold: 3
		      httpGet:
		        host: $a
		        path: /readyz
		        port: 6443
		        scheme: HTTPS
		      periodSeconds: 1
		      timeoutSeconds: 15
		    resources:
		      requests:
		        cpu: 250m
		    startupProbe:
		      failureThreshold: 24
		      httpGet:
		        host: $a
		        path: /livez
		        port: 6443
		        scheme: HTTPS
		      initialDelaySeconds: 10
		      periodSeconds: 10
		      timeoutSeconds: 15
		    volumeMounts:
		    - mountPath: /etc/ssl/certs
		      name: ca-certs
		      readOnly: true
		    - mountPath: /etc/ca-certificates
		      name: etc-ca-certificates
		      readOnly: true
		    - mountPath: /etc/kubernetes/pki
		      name: k8s-certs
		      readOnly: true
		    - mountPath: /usr/local/share/ca-certificates
		      name: usr-local-share-ca-certificates
		      readOnly: true
		    - mountPath: /usr/share/ca-certificates
		      name: usr-share-ca-certificates
		      readOnly: true
	END
    # apiServer.extraVolumes
    for mount in ${EXTRA_MOUNTS:-}; do
        printf '    - mountPath: %s\n      name: encryption-%s\n      readOnly: true\n' "$(cut -d: -f2 <<<"$mount")" $((n++))
    done
    n=0
    cat <<-END
		  hostNetwork: true
		  priorityClassName: system-node-critical
		  volumes:
		  - hostPath:
		      path: /etc/ssl/certs
		      type: DirectoryOrCreate
		    name: ca-certs
		  - hostPath:
		      path: /etc/ca-certificates
		      type: DirectoryOrCreate
		    name: etc-ca-certificates
		  - hostPath:
		      path: /etc/kubernetes/pki
		      type: DirectoryOrCreate
		    name: k8s-certs
		  - hostPath:
		      path: /usr/local/share/ca-certificates
		      type: DirectoryOrCreate
		    name: usr-local-share-ca-certificates
		  - hostPath:
		      path: /usr/share/ca-certificates
		      type: DirectoryOrCreate
		    name: usr-share-ca-certificates
	END
    for mount in ${EXTRA_MOUNTS:-}; do
        printf '  - hostPath:\n      path: %s\n      type: DirectoryOrCreate\n    name: encryption-%s\n' "${mount%%:*}" $((n++))
    done
    cat <<-END
		status: {}
	END
}

# load_image NODE REPOSITORY:TAG TAR CHANGES: CHANGES is a Dockerfile's line, URL-encoded
load_image() {
    docker_api "$1" POST "/images/create?fromSrc=-&repo=${2%:*}&tag=${2##*:}&changes=$4" -H 'Content-Type: application/x-tar' -T "$3" >/dev/null
}

kubeadm_bring_up_apiserver() {
    local node=$1
    mkdir -p -m 700 "$(node_dir "$node")/etc/kubernetes/manifests"
    load_image "$node" "$KUBEADM_IMAGE" "$DIR/image/kube-apiserver.tar" 'ENV%20PATH%3D/usr/local/bin'
    load_image "$node" "$KUBEADM_PAUSE" "$DIR/image/pause.tar" \
        'ENTRYPOINT%20%5B%22/bin/sh%22%2C%22-c%22%2C%22trap%20%27exit%200%27%20INT%20TERM%3B%20while%20%3A%3B%20do%20/bin/busybox%20sleep%203600%20%26%20wait%3B%20done%22%5D'
    node_process "$node" kubelet >/dev/null || kubeadm_start_kubelet "$node"
    (umask 077 && kubeadm_manifest "$node" >"$(node_dir "$node")/etc/kubernetes/manifests/.new")
    mv "$(node_dir "$node")/etc/kubernetes/manifests/.new" "$(node_dir "$node")/etc/kubernetes/manifests/kube-apiserver.yaml"
}

kubeadm_start_kubelet() {
    node_spawn "$1" kubelet "$CACHE/kubernetes-1.20.2/kubelet" --hostname-override="$1" --node-ip="$(address "$1")" \
        --pod-manifest-path=/etc/kubernetes/manifests --pod-infra-container-image="$KUBEADM_PAUSE" --network-plugin= \
        --container-runtime=docker --docker-endpoint=unix:///run/docker.sock --cgroup-driver=cgroupfs --cgroups-per-qos=false \
        --enforce-node-allocatable= --fail-swap-on=false --file-check-frequency=1s --housekeeping-interval=30s \
        --image-gc-high-threshold=100 --eviction-hard= --cert-dir="$(node_dir "$1")/kubelet/pki" --root-dir="$(node_dir "$1")/kubelet"
}

kubeadm_apiserver_container() {
    node_exec "$1" /usr/bin/docker ps -q "${@:2}" --filter label=io.kubernetes.container.name=kube-apiserver | head -n 1
}

# Not beside cluster.yml: the program is to find that of the nodes.
kubeadm_cluster_kubeconfig() { echo "$DIR/kubectl/config"; }

# What the program needs to know, and nothing that is RKE's alone
kubeadm_write_cluster_yml() { kind_cluster_yml >"$DIR/cluster.yml"; }

# What kubeadm stores of how it was asked to make the cluster: an upgrade makes the manifests anew of it.
kubeadm_cluster_made() {
    near kubectl --kubeconfig "$(kubeadm_cluster_kubeconfig)" create -f - >/dev/null <<-END
		apiVersion: v1
		kind: ConfigMap
		metadata:
		  name: kubeadm-config
		  namespace: kube-system
		data:
		  ClusterConfiguration: |
		    apiServer:
		      extraArgs:
		        authorization-mode: Node,RBAC
		        disable-admission-plugins: ServiceAccount
		      timeoutForControlPlane: 4m0s
		    apiVersion: kubeadm.k8s.io/v1beta2
		    certificatesDir: /etc/kubernetes/pki
		    clusterName: kubernetes
		    controllerManager: {}
		    dns:
		      type: CoreDNS
		    etcd:
		      external:
		        caFile: /etc/kubernetes/pki/etcd/ca.crt
		        certFile: /etc/kubernetes/pki/apiserver-etcd-client.crt
		        endpoints:
		$(for node in $(etcd_nodes); do echo "        - https://$(address "$node"):2379"; done)
		        keyFile: /etc/kubernetes/pki/apiserver-etcd-client.key
		    imageRepository: k8s.gcr.io
		    kind: ClusterConfiguration
		    kubernetesVersion: v1.20.2
		    networking:
		      dnsDomain: cluster.local
		      serviceSubnet: 10.43.0.0/16
		    scheduler: {}
		  ClusterStatus: |
		    apiEndpoints: {}
		    apiVersion: kubeadm.k8s.io/v1beta2
		    kind: ClusterStatus
	END
}

kubeadm_flags() { tr '\0' '\n' <"/proc/$(node_process "$1" kube-apiserver)/cmdline" | tail -n +2; }

# The static pod's containers: kubelet's count of restarts is the last part of the name.
kubeadm_restarts() {
    local id
    id=$(kubeadm_apiserver_container "$1")
    [ -n "$id" ] || { echo "$1 - none"; return; }
    node_exec "$1" /usr/bin/docker inspect "$id" |
        jq -r --arg node "$1" '.[0] | [$node, .Id[0:12], .State.Status, .State.StartedAt, "RestartCount=\(.Config.Labels["annotation.io.kubernetes.container.restartCount"])"] | join(" ")'
}

kubeadm_apiserver_log() {
    local id
    id=$(kubeadm_apiserver_container "$1" -a)
    [ -n "$id" ] && node_exec "$1" /usr/bin/docker logs "$id" 2>&1
}
