# shellcheck shell=bash
# Keys and certificates: the operator's SSH keys, and the cluster's certificates under RKE's names (RSA 2048, PKCS#1, as RKE makes them).

PASSPHRASE='correct horse battery staple'

# DIR/keys/id_{ed25519,ecdsa,rsa} plain, ..._pass with a passphrase (in keys/passphrase), ..-cert.pub signed by the user CA (keys/ca);
# keys/cert_only: a key that no authorized_keys has, only its certificate lets it in.
make_ssh_keys() {
    local keys=$DIR/keys type bits
    mkdir -p "$keys/ca" "$keys/cert"
    chmod 700 "$keys"
    printf '%s\n' "$PASSPHRASE" >"$keys/passphrase"
    ssh-keygen -q -t ed25519 -N '' -C 'user CA' -f "$keys/ca/user_ca"
    for type in ed25519 ecdsa rsa; do
        bits=256
        [ $type != rsa ] || bits=2048
        ssh-keygen -q -t $type -b $bits -N '' -C "operator $type" -f "$keys/id_$type"
        ssh-keygen -q -t $type -b $bits -N "$PASSPHRASE" -C "operator $type with passphrase" -f "$keys/id_${type}_pass"
        ssh-keygen -q -t $type -b $bits -N '' -C "operator $type by certificate" -f "$keys/cert/id_$type"
        ssh-keygen -q -s "$keys/ca/user_ca" -I operator -n root,dock,ops "$keys/cert/id_$type.pub"
    done
    chmod 600 "$keys"/passphrase
}

# new_key NAME
new_key() { openssl genrsa -traditional -out "$PKI/$1-key.pem" 2048 2>/dev/null; }

# sign NAME SUBJECT CA EXTENSIONS
sign() {
    openssl req -new -key "$PKI/$1-key.pem" -subj "$2" |
        openssl x509 -req -days 3650 -CA "$PKI/$3.pem" -CAkey "$PKI/$3-key.pem" -set_serial "0x$(openssl rand -hex 15)" -sha256 \
            -extfile <(printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n%s\n' "$4") \
            -out "$PKI/$1.pem" 2>/dev/null
}

self_sign() {
    openssl req -x509 -new -key "$PKI/$1-key.pem" -days 3650 -sha256 -subj "/CN=$1" -out "$PKI/$1.pem" \
        -addext 'keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign' 2>/dev/null
}

make_cluster_pki() {
    mkdir -p "$PKI"
    local node name names dns ips client='extendedKeyUsage=clientAuth' server='extendedKeyUsage=serverAuth'
    local both='extendedKeyUsage=serverAuth,clientAuth'
    names=(kube-ca kube-apiserver-requestheader-ca kube-apiserver kube-apiserver-proxy-client kube-controller-manager
        kube-scheduler kube-proxy kube-node kube-admin kube-service-account-token)
    dns=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost
    ips=IP:127.0.0.1,IP:10.43.0.1
    for node in "${NODES[@]}"; do
        names+=("kube-etcd-$(address "$node" | tr . -)")
        dns+=,DNS:$node ips+=,IP:$(address "$node")
    done
    for name in "${names[@]}"; do new_key "$name" & done
    wait
    self_sign kube-ca
    self_sign kube-apiserver-requestheader-ca
    sign kube-apiserver /CN=system:kube-apiserver kube-ca "$server"$'\n'"subjectAltName=$dns,$ips" &
    sign kube-apiserver-proxy-client /CN=system:kube-apiserver-proxy-client kube-apiserver-requestheader-ca "$client" &
    for name in controller-manager scheduler proxy; do
        sign kube-$name /CN=system:kube-$name kube-ca "$client" &
    done
    sign kube-node /O=system:nodes/CN=system:node kube-ca "$client" &
    sign kube-admin /O=system:masters/CN=kube-admin kube-ca "$client" &
    sign kube-service-account-token /CN=kube-service-account-token kube-ca "$server" &
    for name in "${names[@]}"; do
        case $name in
        kube-etcd-*) sign "$name" /CN=kube-etcd kube-ca "$both"$'\n'"subjectAltName=$dns,$ips" & ;;
        esac
    done
    wait
    chmod 600 "$PKI"/*
    for name in "${names[@]}"; do
        [ -s "$PKI/$name.pem" ] || die "making the certificate $name failed"
    done
}

# install_pki NODE: into its /etc/kubernetes/ssl. Each node has every etcd certificate, as RKE leaves it.
install_pki() {
    local ssl
    ssl=$(node_dir "$1")/etc/kubernetes/ssl
    cp "$PKI"/*.pem "$ssl/"
    rm "$ssl/kube-admin.pem" "$ssl/kube-admin-key.pem"
    chmod 600 "$ssl"/*.pem
}
