"""The two ways to the admin interface of a proxy: its port, forwarded, and the agent beside it, which asks for us.

The interface listens on the loopback of its pod only. The first way wants a right on `pods/portforward`, the second on
`pods/exec`, which is more: whoever may exec can do anything in the pod.

Messages do not name the pod: whoever asks knows it, and what is wrong with many pods is said once. Hints do where they
are commands: these are to be pasted, and the first pod stands for all.
"""

from __future__ import annotations

import http.client
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from http import HTTPStatus
from shlex import join
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote, urlencode

from meshtrust.cluster import executing, forwarding
from meshtrust.cluster.failures import one_line, phrase
from meshtrust.errors import Unreachable

if TYPE_CHECKING:
    from meshtrust.cluster.channels import Channels
    from meshtrust.cluster.failures import Status
    from meshtrust.objects import Ref

_ADMIN_PORT = 15000
_OBJECT = re.compile(rb"^\{", re.MULTILINE)

_OTHER_PORT = "is it still starting, or is proxyAdminPort another one here?"
_OTHER_PAGES = "it may be of another kind, or of a version that does not know this page"


class NoAgent(Unreachable):
    """A container without `pilot-agent`, as ztunnel's is."""


@dataclass(frozen=True, slots=True)
class Way(ABC):
    """A websocket into a pod, and what is done with it: a GET of `path` at `port` of `container`."""

    pod: Ref
    path: str
    port: int
    container: str

    subresource: ClassVar[str]
    protocols: ClassVar[str]

    @property
    @abstractmethod
    def query(self) -> str: ...

    @abstractmethod
    def ask(self, channels: Channels) -> bytes:
        """The answer of the proxy. Raises `Unreachable` where it gives none, and what the channels raise."""

    @property
    def url(self) -> str:
        namespace, name = quote(self.pod.namespace, safe=""), quote(self.pod.name, safe="")
        return f"/api/v1/namespaces/{namespace}/pods/{name}/{self.subresource}?{self.query}"

    @property
    def page(self) -> str:
        return self.path.partition("?")[0]

    @property
    @abstractmethod
    def by_hand(self) -> str:
        """What a person types to see what is answered."""

    @property
    def log(self) -> str:
        return f"kubectl logs {self._named}"

    @property
    def again(self) -> str:
        return f"try again: the pod may have been restarted meanwhile; its log knows more: {self.log}"

    @property
    def _named(self) -> str:
        container = ("-c", self.container) if self.container else ()
        return join((self.pod.name, "-n", self.pod.namespace, *container))

    def missing_verb(self, told: Status) -> str:
        """The verb that is missing; none where a refusal is about something else.

        A websocket is a GET, for which `get` was enough before Kubernetes 1.35. From then on `create` is wanted as
        well, by another part of the API server, whose refusal says nothing but that it is one.
        """
        if told.is_bare and told.of("pods", self.pod.name):
            return "create"
        named = re.search(rf'cannot (\w+) resource "pods/{self.subresource}"', told.line)
        return named[1] if named else ""

    def right(self, verb: str) -> str:
        return f'{verb} pods/{self.subresource} in namespace "{self.pod.namespace}"'

    def can_i(self, verb: str) -> str:
        return f"{verb} pods --subresource={self.subresource} -n {self.pod.namespace}"


@dataclass(frozen=True, slots=True)
class Forwarding(Way):
    subresource = "portforward"
    protocols = "v4.channel.k8s.io"

    @property
    def query(self) -> str:
        return f"ports={self.port}"

    @property
    def by_hand(self) -> str:
        forward = join(("kubectl", "port-forward", self.pod.name, str(self.port), "-n", self.pod.namespace))
        return f"{forward}, and beside it: curl -i localhost:{self.port}/{self.page}"

    def ask(self, channels: Channels) -> bytes:
        try:
            status, body = forwarding.get(channels, self.path)
        except forwarding.NotForwarded as error:
            raise self._not_forwarded(str(error)) from error
        except http.client.RemoteDisconnected as error:
            raise Unreachable("the proxy closed the connection without an answer", self.again) from error
        except http.client.IncompleteRead as error:
            raise Unreachable(f"the proxy gave only a part of {self.page}", self.again) from error
        except (http.client.HTTPException, ValueError) as error:
            raise Unreachable(f"what listens at port {self.port} does not speak HTTP", _OTHER_PORT) from error
        if status != HTTPStatus.OK:
            other = f"{_OTHER_PAGES}; look by hand: {self.by_hand}"
            hint = self.again if status >= HTTPStatus.INTERNAL_SERVER_ERROR else other
            raise Unreachable(f"the proxy answered {phrase(status)} to {self.page}", hint)
        return body

    def _not_forwarded(self, said: str) -> Unreachable:
        if "connection refused" in said:
            return Unreachable(f"nothing listens at port {self.port}", _OTHER_PORT)
        if "connection reset" in said:
            return Unreachable("the proxy reset the connection", self.again)
        return Unreachable(f"port {self.port} cannot be forwarded: {one_line(said)}", self.again)

    def __str__(self) -> str:
        return "forward a port"


@dataclass(frozen=True, slots=True)
class Executing(Way):
    subresource = "exec"
    protocols = "v5.channel.k8s.io, v4.channel.k8s.io"

    @property
    def query(self) -> str:
        words = [("stdout", "true"), ("stderr", "true"), *(("command", word) for word in self._request(self.path))]
        return urlencode([("container", self.container), *words] if self.container else words)

    @property
    def by_hand(self) -> str:
        return f"kubectl exec {self._named} -- {join(self._request(self.page))}"

    def _request(self, path: str) -> tuple[str, ...]:
        port = () if self.port == _ADMIN_PORT else (f"--debug-port={self.port}",)  # an old agent does not know it
        return ("pilot-agent", "request", *port, "GET", path)

    def ask(self, channels: Channels) -> bytes:
        try:
            output = executing.run(channels)
        except executing.NotRun as error:
            raise self._not_run(error) from error
        # The agent may say something of its own first, a line of its log.
        answer = _OBJECT.search(output)
        return output[answer.start() :] if answer else output

    def _not_run(self, error: executing.NotRun) -> Unreachable:
        if "executable file not found" in error.why or "no such file or directory" in error.why:
            return NoAgent(f"no pilot-agent in container {self.container}")
        if "connection refused" in error.said:
            return Unreachable(f"nothing listens at port {self.port}", _OTHER_PORT)
        if "connection reset" in error.said:
            return Unreachable("the proxy reset the connection", self.again)
        return Unreachable(f"pilot-agent gave no answer: {one_line(error.said or error.why)}", self.again)

    def __str__(self) -> str:
        return "exec"
