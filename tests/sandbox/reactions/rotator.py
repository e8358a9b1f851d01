"""The part of istiod and Citadel that looks at the Secret of a self-signed root now and then."""

from __future__ import annotations

import random
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from sandbox.building import release
from sandbox.issuing import pem
from sandbox.reactions import signing
from sandbox.reactions.signing import Signing, Unloadable

if TYPE_CHECKING:
    from sandbox.mesh import Mesh
    from sandbox.reactions.cluster import Cluster
    from sandbox.shapes import Body

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_INTERVAL = "CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL"
_JITTER = "CITADEL_ENABLE_JITTER_FOR_ROOT_CERT_ROTATOR"
_GRACE = "CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE"
_LIFE = "CITADEL_SELF_SIGNED_CA_CERT_TTL"


class Holder(Protocol):
    """Who has the root in memory. `secret` is where it is kept; empty where the CA is plugged in."""

    mesh: Mesh
    memory: Signing | None
    secret: str

    def tell(self) -> None:
        """Let everything that is published follow what is in memory."""
        ...


class Rotator:
    def __init__(self, holder: Holder, cluster: Cluster, container: Body, name: str) -> None:
        self._holder = holder
        self._cluster = cluster
        self._env = {one["name"]: one.get("value", "") for one in container.get("env", ())}
        self._random = random.Random(name)  # noqa: S311 - jitter, the same in each run
        matched = re.search(r":v?(\d+\.\d+\.\d+)", container["image"])
        self.version = matched[1] if matched else holder.mesh.version
        self.release = release(self.version)
        self._manager = "pilot-discovery" if container["name"] == "discovery" else "istio_ca"

    @property
    def exists(self) -> bool:
        """Since 1.2.9, 1.3.5 and 1.4.0."""
        patch = int(self.version.split(".")[2])
        return self.release >= (1, 4) or patch >= {(1, 2): 9, (1, 3): 5}.get(self.release, patch + 1)

    @property
    def life(self) -> timedelta:
        return timedelta(seconds=seconds(self._env.get(_LIFE, "87600h")))

    @property
    def _interval(self) -> float:
        return seconds(self._env.get(_INTERVAL, "1h"))

    async def run(self, *, resumed: bool) -> None:
        interval = self._interval
        if interval <= 0:
            return
        late = self._random.random() * interval if self._env.get(_JITTER, "true") == "true" else 0
        # One that has been at work is somewhere between two ticks.
        await self._cluster.sleep(late if resumed and late else interval + late)
        while True:
            self.tick()
            await self._cluster.sleep(interval)

    def tick(self) -> None:
        """Load the Secret where it holds another root; renew that where its grace has come and the sandbox says so."""
        if self._interval <= 0 or not self._holder.secret or not self.exists:
            return
        share = float(self._env.get(_GRACE, 20)) / 100
        memory, now = self._holder.memory, self._cluster.now()
        if self._cluster.lively.renews and memory is not None and memory.in_grace(now, share):
            self._renew(memory)
        else:
            self.reload()

    def reload(self, *, quietly: bool = False) -> None:
        """Load the Secret; what cannot be loaded leaves the old root in memory. Quietly, nothing else is written."""
        body = self._cluster.find("Secret", self._holder.mesh.home, self._holder.secret)
        memory = self._holder.memory
        texts = signing.texts_of(body)
        if body is None or memory is None or texts.get("ca-cert.pem", "").strip() == pem([memory.certificate]).strip():
            return
        try:
            self._holder.memory = signing.load_self_signed(texts, self.mounted(), self._cluster.now())
        except Unloadable:
            return
        if not quietly:
            self._holder.tell()

    def mounted(self) -> str:
        """Give the roots that are mounted, which are trusted beside its own."""
        secret = self._cluster.find("Secret", self._holder.mesh.home, "cacerts")
        return "" if self._manager == "istio_ca" else signing.texts_of(secret).get("root-cert.pem", "")

    def make_root(self) -> Signing:
        """Make a root of a NEW KEY, as the real ones do where the Secret is missing."""
        key, now = signing.new_key(), self._cluster.now()
        root = signing.self_signed(key, self._holder.mesh.trust_domain, now, self.life, self.release)
        texts = {"ca-cert.pem": pem([root]), "ca-key.pem": signing.key_text(key)}
        if self.release >= (1, 1):
            texts |= {"cert-chain.pem": "", "key.pem": "", "root-cert.pem": ""}
        if self.release >= (1, 20):
            texts["root-cert.pem"] = pem([root])
        if self._holder.secret == "cacerts":
            texts["istio-generated"] = ""
        place = (self._holder.secret, self._holder.mesh.home)
        self._cluster.make_secret(*place, "istio.io/ca-root", texts, self._manager)
        return Signing(root, key, (), (root,))

    def _renew(self, memory: Signing) -> None:
        body = self._cluster.find("Secret", self._holder.mesh.home, self._holder.secret)
        if body is None:
            return
        now = self._cluster.now()
        renewed = pem([signing.renewed(memory, now, self.life, self.release)])
        texts = {**signing.texts_of(body), "ca-cert.pem": renewed}
        try:
            self._holder.memory = signing.load_self_signed(texts, self.mounted(), now)
        except Unloadable:
            return
        self._cluster.write_secret(body, {"ca-cert.pem": renewed}, self._manager)
        self._holder.tell()


def seconds(duration: str) -> float:
    """Read a duration of Go."""
    parts = re.findall(r"([\d.]+)(ms|[hms])", duration)
    total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return -total if duration.startswith("-") else total
