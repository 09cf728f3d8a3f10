# shellcheck shell=bash
# A testbed whose apiservers read an encryption configuration that can be changed, and the program `live`. Sourced, from the top folder.

export TESTBED=${TESTBED:-kube}
testbed=tests/cluster/testbed
config=/etc/kubernetes/ssl/encryption.yaml
nodes=(node1 node2 node3)
key=$(head -c 32 /dev/urandom | base64)

T=$(mktemp -d "${TMPDIR:-/tmp}/encrypt-kube.XXXXXX")
cleanup() {
    [ -z "${writer:-}" ] || kill "$writer" 2>/dev/null
    $testbed down
    rm -rf "$T"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

build_live() {
    local sources=(tests/kube/live.c {base,templates}/*.c state/json_text.c provisioner/{net,kube,etcd}/*.c)
    local flags=(-std=c17 -D_GNU_SOURCE -I. -Wall -Wextra -Wshadow -Wconversion -Werror -g)
    local libraries=(-lcurl -ljansson -lyaml -lcrypto)
    gcc "${flags[@]}" -O2 -o "$T/live" "${sources[@]}" "${libraries[@]}" &&
        gcc "${flags[@]}" -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -o "$T/asan" "${sources[@]}" "${libraries[@]}"
}
asan() { "$T/asan" "$DIR/pki" "${ADDRESSES// /,}" "$@"; }
live() { "$T/live" "$DIR/pki" "${ADDRESSES// /,}" "$@"; }

# providers FIRST SECOND: the configuration
providers() {
    printf 'apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n'
    local p
    for p; do
        case $p in
        aescbc) printf '  - aescbc: {keys: [{name: key1, secret: "%s"}]}\n' "$key" ;;
        identity) printf '  - identity: {}\n' ;;
        esac
    done
}
put_config() { # put_config NODE FIRST SECOND
    local node=$1
    shift
    providers "$@" | $testbed exec "$node" sh -c "umask 077; cat >$config"
}
# all_write PROVIDER OTHER: new configuration, apiservers restarted, until they are ready
all_write() {
    local node
    for node in "${nodes[@]}"; do
        put_config "$node" "$@"
        $testbed docker "$node" restart -t 5 kube-apiserver >/dev/null
    done
    until [ "$(live ready | grep -c '^ready$')" = 3 ]; do sleep 0.2; done
}
# up_writing_plain APISERVER-ARGUMENTS: they read aescbc too
up_writing_plain() {
    # An apiserver can't start before its file is there, so docker tries it again until it is.
    (
        for node in "${nodes[@]}"; do
            until $testbed exec "$node" test -e /etc/kubernetes/ssl/kube-apiserver.pem; do sleep 0.5; done
            put_config "$node" identity aescbc
        done
    ) >/dev/null 2>&1 &
    writer=$!
    $testbed up --nodes 3 --kind rke --apiserver-args "--encryption-provider-config=$config $1" || return 1
    wait "$writer"
    writer=
    eval "$($testbed env)"
}
# field NAME OUTPUT: the number after NAME=
field() { sed -n "s#.*\b$1=\([0-9.]*\).*#\1#p" <<<"$2" | head -n 1; }
