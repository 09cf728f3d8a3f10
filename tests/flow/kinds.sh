# shellcheck shell=bash
# What is asked of the nodes of each kind of cluster that is not RKE's; to be sourced after lib.sh, with $KIND set.
#
# What differs by kind is in functions of its name: CONFIG_FILE; KIND_state NODE, what must be as before when all is done; KIND_holds, what must
# hold while the flag is there; KIND_holds_no_more.

nodes() { seq -f 'node%g' 1 "$COUNT"; }

# --- kubeadm ---

kubeadm_up() { testbed_up --nodes "${NODES:-3}" --kind kubeadm --user sudo-user --busybox; }
kubeadm_file=/etc/kubernetes/enc/encryption.yaml
kubeadm_manifest=/etc/kubernetes/manifests/kube-apiserver.yaml
# All files of the node's /etc/kubernetes, but for the stamp, which stays; of the manifest without the line that a restart changes
kubeadm_state() {
    # shellcheck disable=SC2016
    "$TB" exec "$1" sh -c 'find /etc/kubernetes -type f ! -name "*.yaml.encrypt" -exec stat -c "%n %a %u %g" {} + | sort
        find /etc/kubernetes -type f ! -name "*.yaml.encrypt" ! -path "$1" -exec sha256sum {} + | sort
        grep -v encrypt.io/restart "$1"' - "$kubeadm_manifest"
}
kubeadm_config() { "$TB" kubectl -n kube-system get configmap kubeadm-config -o jsonpath='{.data}'; }
# kubeadm would start apiservers with the flag; the folder is mounted, and nothing but the manifest is in the kubelet's folder
kubeadm_holds() {
    local node
    kubeadm_config | grep -qF "encryption-provider-config: $kubeadm_file" || return 1
    for node in $(nodes); do
        "$TB" exec "$node" grep -q 'name: encrypt-io-config' "$kubeadm_manifest" || return 1
        [ "$("$TB" exec "$node" ls -A /etc/kubernetes/manifests)" = kube-apiserver.yaml ] || return 1
    done
}
# Byte for byte
kubeadm_holds_no_more() {
    local node
    for node in $(nodes); do "$TB" exec "$node" cat "$kubeadm_manifest" | cmp - "$WORK/$node.manifest" || return 1; done
    [ "$(kubeadm_config)" = "$(cat "$WORK/kubeadm-config")" ]
}
kubeadm_before() {
    local node
    for node in $(nodes); do "$TB" exec "$node" cat "$kubeadm_manifest" >"$WORK/$node.manifest"; done
    kubeadm_config >"$WORK/kubeadm-config"
}
# The kubelet runs any file there; an empty one it can't.
kubeadm_refuses() {
    "$TB" exec node2 touch "$kubeadm_manifest.bak"
    ok 'a backup that lies beside a manifest is refused' fails_with 4 'kube-apiserver.yaml.bak lies beside' run up
    "$TB" exec node2 rm "$kubeadm_manifest.bak"
}
# shellcheck disable=SC2034 # by its kind
kubeadm_binds='["/run/kms:/run/kms"]'

# --- systemd ---

systemd_up() { testbed_up --nodes "${NODES:-3}" --kind systemd --user sudo-user --busybox; }
systemd_file=/etc/kubernetes/encryption.yaml
# Units, drop-ins, environment files and certificates, and what systemd knows of them
systemd_state() {
    "$TB" exec "$1" sh -c 'find /etc/systemd/system /etc/kubernetes ! -name "*.yaml.encrypt" -exec stat -c "%n %a %u %g" {} + | sort
        find /etc/systemd/system /etc/kubernetes -type f ! -name "*.yaml.encrypt" -exec sha256sum {} + | sort
        systemctl show kube-apiserver.service --property=FragmentPath,DropInPaths,NeedDaemonReload,UnitFileState'
}
# The flag comes from our drop-in, systemd knows it, and all other flags are as they were
systemd_holds() {
    local node
    for node in $(nodes); do
        [ "$("$TB" exec "$node" systemctl show kube-apiserver.service --property=DropInPaths,NeedDaemonReload | sort | paste -sd ' ')" = \
            'DropInPaths=/etc/systemd/system/kube-apiserver.service.d/50-encrypt.conf NeedDaemonReload=no' ] || return 1
        [ "$(diff "$WORK/$node.flags" <("$TB" flags "$node") | grep '^[<>]')" = "> --encryption-provider-config=$systemd_file" ] || return 1
    done
}
systemd_holds_no_more() {
    local node
    for node in $(nodes); do diff "$WORK/$node.flags" <("$TB" flags "$node") || return 1; done
}
systemd_before() {
    local node
    for node in $(nodes); do "$TB" flags "$node" >"$WORK/$node.flags"; done
}
# --- openshift3 ---

openshift3_up() { testbed_up --nodes "${NODES:-3}" --kind openshift3 --user sudo-user --busybox; }
openshift3_file=/etc/origin/master/encryption-config.yaml
openshift3_state() {
    "$TB" exec "$1" sh -c 'find /etc/origin -type f ! -name "*.yaml.encrypt" -exec stat -c "%n %a %u %g" {} + | sort
        find /etc/origin -type f ! -name "*.yaml.encrypt" -exec sha256sum {} + | sort
        systemctl is-active origin-master-api origin-master-controllers'
}
openshift3_holds() {
    local node
    for node in $(nodes); do
        "$TB" exec "$node" cat /etc/origin/master/master-config.yaml |
            /usr/bin/python3 -c 'import sys, yaml
flag = yaml.safe_load(sys.stdin)["kubernetesMasterConfig"]["apiServerArguments"]["experimental-encryption-provider-config"]
sys.exit(flag != [sys.argv[1]])' "$openshift3_file" || return 1
        "$TB" exec "$node" grep -qx 'kind: EncryptionConfig' "$openshift3_file" || return 1
        [ "$("$TB" exec "$node" systemctl is-active origin-master-api origin-master-controllers | paste -sd ' ')" = 'active active' ] || return 1
        [ "$(openshift3_started "$node" controllers)" -gt "$(openshift3_started "$node" api)" ] || return 1
    done
    [ -n "$("$TB" etcdctl get --prefix --keys-only --limit 1 /kubernetes.io/secrets/)" ]
}
openshift3_started() { "$TB" exec "$1" systemctl show -p ExecMainStartTimestampMonotonic "origin-master-$2" | cut -d= -f2; }

# --- what holds for all ---

file_of() { local of=${KIND}_file && echo "${!of}"; }
FILE=$(file_of)
hook() { if declare -F "${KIND}_$1" >/dev/null; then "${KIND}_$1" "${@:2}"; fi; }

states() {
    local node
    for node in $(nodes); do echo "$node" && "${KIND}_state" "$node"; done
}
as_before() { diff "$WORK/states" <(states); }

no_flag_no_file() {
    local node
    for node in $(nodes); do
        "$TB" exec "$node" test ! -e "$FILE" || return 1
        ! "$TB" flags "$node" | grep encryption-provider || return 1
    done
}
# Nothing of ours beside the configuration and its stamp
left_nothing() {
    local node
    for node in $(nodes); do
        [ -z "$("$TB" exec "$node" find /etc /tmp -xdev -name '.*encrypt*' ! -path '/etc/busybox/*')" ] || return 1
    done
    [ -z "$(find "$DIR" -maxdepth 1 -name '.*.encrypt-*')" ] || return 1
    ! "$TB" kubectl -n kube-system get lease encrypt >/dev/null 2>&1
}
# Not in what was said, in a process' arguments and environment, in a container's settings, in the nodes' logs
no_key_is_seen() {
    local node secret
    for secret in $(jq -r '.encrypt.keys[].secret' "$STATE"); do
        ! grep -qF -- "$secret" "$LOG" || return 1
        for node in $(nodes); do
            ! "$TB" exec "$node" sh -c 'cat /run/sudo.log; cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null' | grep -qaF -- "$secret" || return 1
            ! grep -rqF -- "$secret" "$DIR/nodes/$node/log" || return 1
            ! "$TB" log "$node" kube-apiserver 2>/dev/null | grep -qF -- "$secret" || return 1
            ! "$TB" docker "$node" ps -aq 2>/dev/null | xargs -r "$TB" docker "$node" inspect 2>/dev/null | grep -qF -- "$secret" || return 1
        done
    done
}
sudo_refused_nothing() {
    local node
    for node in $(nodes); do
        ! "$TB" exec "$node" sh -c 'tr -s "\n " " " </run/sudo.log' | grep -E 'password is required|not allowed' || return 1
    done
}
