"""The plugins as a user runs them: by a real kubectl, live or on a recording that was made with real tools."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from cluster.mesh import ROOT_CONFIGMAP
from cluster.workloads import HOME

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cluster.ground import Ground

# Only a live server answers these, or they depend on when they are asked.
_OF_THE_MOMENT = ("read_at", "remarks", "not_asked", "status", "counts")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a plugin said with `-o json`, and how it ended."""

    code: int
    report: Mapping[str, Any]
    stderr: str

    @property
    def levels(self) -> dict[str, str]:
        """Every check that is not ok."""
        return {finding["check"]: finding["level"] for finding in self.report["findings"]}

    @property
    def places(self) -> dict[str, set[str]]:
        """The places of the problems of each check."""
        return {
            finding["check"]: {problem["place"] for problem in finding["problems"]}
            for finding in self.report["findings"]
        }

    @property
    def signing(self) -> Mapping[str, Any]:
        """The row of what signs."""
        rows: list[Mapping[str, Any]] = [row for row in self.report["rows"] if row["role"] == "signs"]
        return rows[0]

    @property
    def unseen(self) -> str:
        return "\n".join(sorted({gap["why"] for finding in self.report["findings"] for gap in finding["unseen"]}))

    @property
    def verdict(self) -> dict[str, Any]:
        """Everything that a recording of the same moment must say as well."""
        kept = {key: value for key, value in self.report.items() if key not in _OF_THE_MOMENT}
        rows = [{key: value for key, value in row.items() if key != "seconds_left"} for row in kept.pop("rows")]
        return {**kept, "rows": sorted(rows, key=str)}


@dataclass(frozen=True, slots=True)
class Plugin:
    """One verb of a plugin, as the single files in `dist`."""

    ground: Ground
    dist: Path
    name: str
    verb: str
    folder: Path

    def __call__(self, *arguments: str, user: str = "admin") -> Answer:
        """Ask by `kubectl NAME VERB`: kubectl finds the plugin on the PATH."""
        words = [self.name.replace("_", "-"), *([self.verb] if self.verb else [])]
        asked = ("kubectl", *words, "-o", "json", *arguments)
        done = self.ground.run(*asked, environment=self.environment(user), cwd=self.folder, timeout=600)
        if not done.stdout.startswith("{"):
            raise AssertionError(f"{words} {arguments}: {done.returncode}\n{done.stdout}{done.stderr}")
        return Answer(done.returncode, json.loads(done.stdout), done.stderr)

    def environment(self, user: str = "admin") -> dict[str, str]:
        path = os.pathsep.join((str(self.dist), self.ground.environment["PATH"]))
        return {**self.ground.environment, "KUBECONFIG": str(self.ground.folder / f"{user}.kubeconfig"), "PATH": path}

    def of_dump(self, *arguments: str) -> Answer:
        """Ask of what `kubectl get -o yaml` says, as the manual has it."""
        return self("-f", str(self._dump()), "-f", str(self._copies()), *arguments)

    def of_bug_report(self, *arguments: str) -> Answer:
        """Ask of what istioctl collects; it leaves out the Secrets."""
        folder = mkdtemp(dir=self.folder)
        self.ground.say("istioctl", "bug-report", "--dir", f"{folder}/work", "--output-dir", folder)
        return self("-f", f"{folder}/bug-report.tar.gz", "-f", str(self._dump("secrets")), *arguments)

    def of_pods(self) -> Answer:
        return self("-f", str(self._save("pods.yaml", "pods", "-A")))

    def _dump(self, kinds: str = "secrets,configmaps,pods,deployments") -> Path:
        return self._save(f"{kinds.replace(',', '-')}.yaml", kinds, "-n", HOME)

    def _copies(self) -> Path:
        return self._save("copies.yaml", "configmaps", "-A", "--field-selector", f"metadata.name={ROOT_CONFIGMAP}")

    def _save(self, name: str, *what: str) -> Path:
        path = self.folder / name
        path.write_text(self.ground.kubectl("get", *what, "-o", "yaml"))
        return path
