"""What the servers of a Kubernetes on one node are told. JSON is YAML: none of it needs to be pretty."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cluster.programs import Programs

ADDRESS = "10.99.0.1"
SERVICES = "10.96.0.0/16"
PODS = "10.244.0.0/22"
API = f"https://{ADDRESS}:16443"
NODE = "node1"
NODE_TOKEN = "node-token"
ADMIN_TOKEN = "admin-token"
# A user with no rights but those that a test gives it.
WATCHER_TOKEN = "watcher-token"
_ETCD = "http://127.0.0.1:12379"
_TOKENS = f"""\
{ADMIN_TOKEN},admin,admin,"system:masters"
{NODE_TOKEN},system:node:{NODE},{NODE},"system:nodes"
{WATCHER_TOKEN},watcher,watcher,"watchers"
"""
_CONTAINERD = """\
version = 2
root = "{folder}/containerd/root"
state = "/run/containerd-state"
[grpc]
  address = "/run/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "local/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
"""


def write_settings(folder: Path) -> None:
    (folder / "cni").mkdir()
    (folder / "tokens.csv").write_text(_TOKENS)
    (folder / "containerd.toml").write_text(_CONTAINERD.format(folder=folder))
    _write(folder / "cni" / "10-mesh.conflist", _network())
    _write(folder / "kubelet.yaml", _kubelet(folder))
    _write(folder / "proxy.yaml", _proxy(folder))
    for name, token in (("admin", ADMIN_TOKEN), ("node", NODE_TOKEN), ("watcher", WATCHER_TOKEN)):
        _write(folder / f"{name}.kubeconfig", _kubeconfig(folder, name, token))


def servers(programs: Programs, folder: Path) -> dict[str, tuple[str, ...]]:
    """Give the command of each server, in the order in which they start."""
    admin = f"--kubeconfig={folder}/admin.kubeconfig"
    return {
        "etcd": (
            programs["etcd"],
            *("--data-dir", f"{folder}/etcd", "--unsafe-no-fsync"),
            *("--listen-client-urls", _ETCD, "--advertise-client-urls", _ETCD),
            *("--listen-peer-urls", "http://127.0.0.1:12380"),
        ),
        "containerd": ("containerd", "-c", f"{folder}/containerd.toml"),
        "apiserver": (
            programs["kube-apiserver"],
            *(f"--etcd-servers={_ETCD}", "--secure-port=16443", f"--service-cluster-ip-range={SERVICES}"),
            *(f"--bind-address={ADDRESS}", f"--advertise-address={ADDRESS}"),  # where pods can reach it
            *(f"--tls-cert-file={folder}/api.crt", f"--tls-private-key-file={folder}/api.key"),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-signing-key-file={folder}/accounts.key",
            f"--service-account-key-file={folder}/accounts.key",
            *(f"--token-auth-file={folder}/tokens.csv", "--authorization-mode=Node,RBAC"),
            *("--enable-admission-plugins=NodeRestriction", "--allow-privileged=true"),
            "--kubelet-preferred-address-types=InternalIP",
        ),
        "controller-manager": (
            programs["kube-controller-manager"],
            *(admin, "--leader-elect=false", "--secure-port=20257", "--bind-address=127.0.0.1"),
            f"--service-account-private-key-file={folder}/accounts.key",
            f"--root-ca-file={folder}/ca.crt",  # publishes kube-root-ca.crt, which istiod's pod mounts
            f"--cluster-signing-cert-file={folder}/ca.crt",
            f"--cluster-signing-key-file={folder}/ca.key",
            *(f"--cert-dir={folder}/controller-manager", "--controllers=*"),
        ),
        "scheduler": (
            programs["kube-scheduler"],
            *(admin, "--leader-elect=false", "--secure-port=20259", "--bind-address=127.0.0.1"),
            f"--cert-dir={folder}/scheduler",
        ),
        "kubelet": (
            programs["kubelet"],
            *(f"--config={folder}/kubelet.yaml", f"--kubeconfig={folder}/node.kubeconfig"),
            *("--root-dir=/run/kubelet", f"--cert-dir={folder}/kubelet-pki"),  # its sockets want a short path
            *(f"--hostname-override={NODE}", f"--node-ip={ADDRESS}"),
        ),
        "proxy": (programs["kube-proxy"], f"--config={folder}/proxy.yaml"),
    }


def stores(programs: Programs, folder: Path) -> dict[str, tuple[str, ...]]:
    """Give the commands of those that store alone: nobody makes the ServiceAccounts that pods would need."""
    every = servers(programs, folder)
    return {"etcd": every["etcd"], "apiserver": (*every["apiserver"], "--disable-admission-plugins=ServiceAccount")}


def _kubeconfig(folder: Path, user: str, token: str) -> Mapping[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "ground", "cluster": {"server": API, "certificate-authority": f"{folder}/ca.crt"}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "ground", "context": {"cluster": "ground", "user": user}}],
        "current-context": "ground",
    }


def _network() -> Mapping[str, Any]:
    """Of the kind ptp, not bridge: each packet passes the node's IP layer, so Services work without br_netfilter."""
    ranges = [[{"subnet": PODS}]]
    ipam = {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}
    pods = {"type": "ptp", "ipMasq": False, "ipam": ipam}
    return {"cniVersion": "0.4.0", "name": "mesh", "plugins": [pods]}


def _kubelet(folder: Path) -> Mapping[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        # A full disk elsewhere on the machine is no reason to evict.
        "evictionHard": {
            "memory.available": "1Mi",
            "nodefs.available": "0%",
            "imagefs.available": "0%",
            "nodefs.inodesFree": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        "maxPods": 500,
        "syncFrequency": "10s",
        "resolvConf": "",
        "clusterDNS": [ADDRESS],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": "unix:///run/containerd.sock",
        "podLogsDir": f"{folder}/pods",
        "volumePluginDir": f"{folder}/volume-plugins",
        "address": ADDRESS,
        "port": 20250,
        "readOnlyPort": 0,
        "healthzPort": 20248,
    }


def _proxy(folder: Path) -> Mapping[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": f"{folder}/admin.kubeconfig"},
        "bindAddress": ADDRESS,
        "healthzBindAddress": "127.0.0.1:20256",
        "metricsBindAddress": "127.0.0.1:20249",
        "clusterCIDR": PODS,
        "hostnameOverride": NODE,
        "conntrack": {"maxPerCore": 0, "min": 0},
    }


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value))
