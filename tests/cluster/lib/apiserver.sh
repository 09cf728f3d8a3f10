# shellcheck shell=bash
# The container kube-apiserver of a node, made as RKE makes it: entrypoint script, program and flags in the Entrypoint array,
# the host's network, restart always, /etc/kubernetes bound, /opt/rke-tools from the volume of the container service-sidekick.

IMAGE=rancher/hyperkube:v1.20.2-rancher1
TOOLS_IMAGE=rancher/rke-tools:v0.1.72

# docker_api NODE METHOD PATH [CURL-ARGUMENTS]: an answer of 400 or more is an error, with its text
docker_api() {
    local node=$1 method=$2 path=$3 pid answer
    shift 3
    pid=$(node_pid "$node") || die "$node is not running"
    # By way of the folder: a Unix socket's path must be short.
    answer=$(cd "/proc/$pid/root/run" && curl -sS --max-time 60 --unix-socket docker.sock -X "$method" -w '\n%{http_code}' "$@" \
        "http://docker/v1.40$path") || return 1
    [ "${answer##*$'\n'}" -lt 400 ] || { say "$node: $method $path: $answer"; return 1; }
    printf '%s\n' "${answer%$'\n'*}"
}

dockerd_is_up() { docker_api "$1" GET /_ping; }

# The images' tars, made on the spot: a static kube-apiserver and a static busybox.
make_images() {
    local root=$DIR/image/root applet
    mkdir -p "$root"/{bin,etc,tmp,root,var/run,usr/local/bin,opt/rke-tools,etc/kubernetes}
    cp /bin/busybox "$root/bin/busybox"
    for applet in $(/bin/busybox --list); do [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"; done
    echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
    printf '#!/bin/sh\nexec "$@"\n' >"$root/opt/rke-tools/entrypoint.sh"
    chmod 755 "$root/opt/rke-tools/entrypoint.sh"
    chmod 1777 "$root/tmp"
    tar -C "$root" -c . >"$DIR/image/tools.tar"
    cp "$APISERVER" "$root/usr/local/bin/kube-apiserver"
    chmod 755 "$root/usr/local/bin/kube-apiserver"
    tar -C "$root" -c . >"$DIR/image/hyperkube.tar"
    rm -rf "$root"
}

load_images() {
    docker_api "$1" POST "/images/create?fromSrc=-&repo=${TOOLS_IMAGE%:*}&tag=${TOOLS_IMAGE#*:}&changes=ENV%20PATH%3D/usr/local/bin:/bin:/opt/rke-tools" \
        -H 'Content-Type: application/x-tar' -T "$DIR/image/tools.tar" >/dev/null
    docker_api "$1" POST "/images/create?fromSrc=-&repo=${IMAGE%:*}&tag=${IMAGE#*:}&changes=ENV%20PATH%3D/usr/local/bin:/bin:/opt/rke-tools" \
        -H 'Content-Type: application/x-tar' -T "$DIR/image/hyperkube.tar" >/dev/null
}

# The minor version of the program that runs, from its own mouth
apiserver_minor() {
    local version
    version=$("$APISERVER" --version)
    version=${version#Kubernetes v1.}
    echo "${version%%.*}"
}

apiserver_flags() {
    local ssl=/etc/kubernetes/ssl minor
    minor=$(apiserver_minor)
    cat <<-END
		--advertise-address=$(address "$1")
		--allow-privileged=true
		--anonymous-auth=false
		--api-audiences=unknown
		--authorization-mode=Node,RBAC
		--bind-address=0.0.0.0
		--client-ca-file=$ssl/kube-ca.pem
		--disable-admission-plugins=ServiceAccount
		--enable-admission-plugins=NamespaceLifecycle,LimitRanger,DefaultStorageClass,DefaultTolerationSeconds,MutatingAdmissionWebhook,ValidatingAdmissionWebhook,ResourceQuota,NodeRestriction
		--etcd-cafile=$ssl/kube-ca.pem
		--etcd-certfile=$ssl/kube-node.pem
		--etcd-keyfile=$ssl/kube-node-key.pem
		--etcd-prefix=/registry
		--etcd-servers=$(etcd_urls)
		--kubelet-client-certificate=$ssl/kube-apiserver.pem
		--kubelet-client-key=$ssl/kube-apiserver-key.pem
		--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname
		--profiling=false
		--proxy-client-cert-file=$ssl/kube-apiserver-proxy-client.pem
		--proxy-client-key-file=$ssl/kube-apiserver-proxy-client-key.pem
		--requestheader-allowed-names=kube-apiserver-proxy-client
		--requestheader-client-ca-file=$ssl/kube-apiserver-requestheader-ca.pem
		--requestheader-extra-headers-prefix=X-Remote-Extra-
		--requestheader-group-headers=X-Remote-Group
		--requestheader-username-headers=X-Remote-User
		--secure-port=6443
		--service-account-issuer=rke
		--service-account-key-file=$ssl/kube-service-account-token-key.pem
		--service-account-lookup=true
		--service-account-signing-key-file=$ssl/kube-service-account-token-key.pem
		--service-cluster-ip-range=10.43.0.0/16
		--service-node-port-range=30000-32767
		--storage-backend=etcd3
		--tls-cert-file=$ssl/kube-apiserver.pem
		--tls-private-key-file=$ssl/kube-apiserver-key.pem
	END
    [ "$minor" -ge 24 ] || printf '%s\n' --cloud-provider= --insecure-port=0
}

# create_containers NODE [FLAGS MOUNTS]: FLAGS (one a line) come to those of a node, MOUNTS in the place of its mount
create_containers() {
    local node=$1 flags mounts=${3:-/etc/kubernetes:/etc/kubernetes:z}
    # shellcheck disable=SC2086 # the extra arguments are words
    flags=$({ apiserver_flags "$node"; [ -z "$APISERVER_ARGS" ] || printf '%s\n' $APISERVER_ARGS; [ -z "${2:-}" ] || printf '%s\n' "$2"; } |
        jq -R . | jq -s .)
    mounts=$(jq -R . <<<"$mounts" | jq -s .)
    jq -n --arg image "$TOOLS_IMAGE" '{
        Image: $image, Entrypoint: ["/bin/true"], Volumes: {"/opt/rke-tools": {}},
        Labels: {"io.rancher.rke.container.name": "service-sidekick"}, HostConfig: {NetworkMode: "none"}
    }' | docker_api "$node" POST '/containers/create?name=service-sidekick' -H 'Content-Type: application/json' -d @- >/dev/null
    jq -n --arg image "$IMAGE" --argjson flags "$flags" --argjson mounts "$mounts" '{
        Image: $image,
        Entrypoint: (["/opt/rke-tools/entrypoint.sh", "kube-apiserver"] + $flags),
        Env: ["RKE_AUDITLOG_CONFIG_CHECKSUM=0ba5c6ef5a62e2e5b8b5ec3b8b9c5d0c", "TESTBED_NOTE=an ordinary variable, with spaces & signs <>"],
        Labels: {"io.rancher.rke.container.name": "kube-apiserver"},
        HostConfig: {
            Binds: $mounts, VolumesFrom: ["service-sidekick"], NetworkMode: "host",
            RestartPolicy: {Name: "always"}, LogConfig: {Type: "json-file", Config: {"max-size": "50m", "max-file": "2"}}
        }
    }' | docker_api "$node" POST '/containers/create?name=kube-apiserver' -H 'Content-Type: application/json' -d @- >/dev/null
}

start_apiserver() { docker_api "$1" POST /containers/kube-apiserver/start >/dev/null; }

# kube_get NODE PATH: as kube-admin, through that node's own apiserver
kube_get() {
    near curl -sSf --max-time 10 --cacert "$DIR/pki/kube-ca.pem" --cert "$DIR/pki/kube-admin.pem" --key "$DIR/pki/kube-admin-key.pem" \
        "https://$(address "$1"):$(per_kind apiserver_port)$2"
}

apiserver_is_ready() { [ "$(kube_get "$1" /readyz)" = ok ]; }

# Every apiserver has entered itself in default/kubernetes (each does after its start, at its own pace).
endpoints_are_complete() {
    [ "$(kube_get node1 /api/v1/namespaces/default/endpoints/kubernetes | jq '[.subsets[].addresses[]] | length')" = "$COUNT" ]
}
