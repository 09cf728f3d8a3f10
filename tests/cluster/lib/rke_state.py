"""rke_state.py DIR USER BASTION NODE=ADDRESS...: writes DIR/cluster.rkestate as `rke up` of cluster.yml would have left it.

The members, their order (Go's structs; maps sorted), what `omitempty` leaves out, the indentation by two spaces, no newline at the
end, and `<`, `>`, `&` as \\u003c, \\u003e, \\u0026 are those of RKE's encoder. encryptionConfig is absent: RKE leaves an empty one out.
"""
import json
import os
import sys

folder, user, bastion = sys.argv[1:4]
nodes = [argument.split("=", 1) for argument in sys.argv[4:]]
key_path = os.path.join(folder, "keys/id_ed25519")


def read(*path):
    with open(os.path.join(folder, *path), encoding="ascii") as file:
        return file.read()


def certificate(name, common_name, ou="", config=""):
    env = name.upper().replace("-", "_")
    path = f"/etc/kubernetes/ssl/{name}"
    return {
        "certificatePEM": read("pki", f"{name}.pem"),
        "keyPEM": read("pki", f"{name}-key.pem"),
        "config": config,
        "name": name,
        "commonName": common_name,
        "ouName": ou,
        "envName": env,
        "path": f"{path}.pem",
        "keyEnvName": f"{env}_KEY",
        "keyPath": f"{path}-key.pem",
        "configEnvName": "KUBECFG_" + env if config else "",
        "configPath": f"/etc/kubernetes/ssl/kubecfg-{name}.yaml" if config else "",
    }


def component_config(name):
    return (
        "apiVersion: v1\nkind: Config\nclusters:\n- cluster:\n    api-version: v1\n"
        "    certificate-authority: /etc/kubernetes/ssl/kube-ca.pem\n    server: \"https://127.0.0.1:6443\"\n"
        f"  name: \"local\"\ncontexts:\n- context:\n    cluster: \"local\"\n    user: \"{name}-local\"\n  name: \"local\"\n"
        f"current-context: \"local\"\nusers:\n- name: \"{name}-local\"\n  user:\n"
        f"    client-certificate: /etc/kubernetes/ssl/{name}.pem\n    client-key: /etc/kubernetes/ssl/{name}-key.pem")


def bundle():
    entries = [
        certificate("kube-ca", "kube-ca"),
        certificate("kube-apiserver-requestheader-ca", "kube-apiserver-requestheader-ca"),
        certificate("kube-apiserver", "system:kube-apiserver"),
        certificate("kube-apiserver-proxy-client", "system:kube-apiserver-proxy-client"),
        certificate("kube-controller-manager", "system:kube-controller-manager", config=component_config("kube-controller-manager")),
        certificate("kube-scheduler", "system:kube-scheduler", config=component_config("kube-scheduler")),
        certificate("kube-proxy", "system:kube-proxy", config=component_config("kube-proxy")),
        certificate("kube-node", "system:node", "system:nodes", component_config("kube-node")),
        certificate("kube-admin", "kube-admin", "system:masters", read("kube_config_cluster.yml")),
        certificate("kube-service-account-token", "kube-service-account-token"),
    ]
    entries[8]["configPath"] = os.path.join(folder, "kube_config_cluster.yml")
    for _, address in nodes:
        entries.append(certificate("kube-etcd-" + address.replace(".", "-"), "kube-etcd"))
    return {entry["name"]: entry for entry in sorted(entries, key=lambda entry: entry["name"])}


def rke_config():
    return {
        "nodes": [{
            "address": address, "port": "22", "internalAddress": address, "role": ["controlplane", "worker", "etcd"],
            "hostnameOverride": node, "user": user, "dockerSocket": "/var/run/docker.sock", "sshKeyPath": key_path,
        } for node, address in nodes],
        "services": {
            "etcd": {
                "extraArgs": {"election-timeout": "5000", "heartbeat-interval": "500"},
                "snapshot": True, "retention": "72h0m0s", "creation": "12h0m0s",
                "backupConfig": {"enabled": True, "intervalHours": 12, "retention": 6, "s3BackupConfig": None,
                                 "safeTimestamp": False, "timeout": 300},
                "image": "rancher/mirrored-coreos-etcd:v3.4.14-rancher1",
            },
            "kubeApi": {"image": "rancher/hyperkube:v1.20.2-rancher1", "serviceClusterIpRange": "10.43.0.0/16",
                        "serviceNodePortRange": "30000-32767"},
            "kubeController": {"image": "rancher/hyperkube:v1.20.2-rancher1", "clusterCidr": "10.42.0.0/16",
                               "serviceClusterIpRange": "10.43.0.0/16"},
            "scheduler": {"image": "rancher/hyperkube:v1.20.2-rancher1"},
            "kubelet": {"image": "rancher/hyperkube:v1.20.2-rancher1", "extraArgs": {"max-pods": "110"},
                        "clusterDomain": "cluster.local", "infraContainerImage": "rancher/pause:3.2",
                        "clusterDnsServer": "10.43.0.10"},
            "kubeproxy": {"image": "rancher/hyperkube:v1.20.2-rancher1"},
        },
        "network": {"plugin": "canal", "options": {"canal_flannel_backend_type": "vxlan"}},
        "authentication": {"strategy": "x509"},
        "addons": "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: note   # \"a\" < 'b' & so on\n  namespace: default\n"
                  "data:\n  text: ${NOT_A_VARIABLE}",
        "systemImages": {"etcd": "rancher/mirrored-coreos-etcd:v3.4.14-rancher1", "alpine": "rancher/rke-tools:v0.1.72",
                         "kubernetesServicesSidecar": "rancher/rke-tools:v0.1.72",
                         "kubernetes": "rancher/hyperkube:v1.20.2-rancher1", "podInfraContainer": "rancher/pause:3.2"},
        "sshKeyPath": key_path,
        "sshAgentAuth": False,
        "authorization": {"mode": "rbac"},
        "ignoreDockerVersion": False,
        "kubernetesVersion": "v1.20.2-rancher1-1",
        "ingress": {"provider": "nginx", "httpPort": 80, "httpsPort": 443, "networkMode": "hostPort", "defaultBackend": True},
        "clusterName": "local",
        "cloudProvider": {},
        "prefixPath": "/",
        "addonJobTimeout": 45,
        "bastionHost": {"address": bastion, "port": "22", "user": user, "sshKeyPath": key_path} if bastion else {},
        "monitoring": {"provider": "metrics-server", "replicas": 1},
        "restore": {},
        "rotateEncryptionKey": False,
        "dns": {"provider": "coredns", "linearAutoscalerParams": {"coresPerReplica": 128, "nodesPerReplica": 4, "min": 1,
                                                                   "preventSinglePointFailure": True}},
        "upgradeStrategy": {"maxUnavailableWorker": "10%", "maxUnavailableControlplane": "1", "drain": False},
    }


state = {"rkeConfig": rke_config(), "certificatesBundle": bundle()}
text = json.dumps({"desiredState": state, "currentState": state}, indent=2, ensure_ascii=False)
for character in "<>&":
    text = text.replace(character, f"\\u{ord(character):04x}")

target = os.path.join(folder, "cluster.rkestate")
with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
    file.write(text)
