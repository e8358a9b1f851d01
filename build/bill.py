"""The bill of materials of an archive, as CycloneDX 1.6 has it (SBOM)."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bundled import Component

_EXPRESSION = re.compile(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*")


def write_bill(archive: Path, plugin: Path, version: str, bundled: Sequence[Component]) -> Path:
    """Write it beside the archive. It holds no time, and its number is made from the archive: same bits, same bill."""
    name = plugin.name.removesuffix(".exe")
    root = f"pkg:generic/{name}@{version}"
    said = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, _sha256(archive))}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": name,
                "version": version,
                "purl": root,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
                "hashes": [{"alg": "SHA-256", "content": _sha256(plugin)}],
                "properties": [{"name": "archive", "value": archive.name}],
            }
        },
        "components": [_entry(component) for component in bundled],
        "dependencies": [
            {"ref": root, "dependsOn": [component.purl for component in bundled]},
            *({"ref": component.purl} for component in bundled),
        ],
    }
    bill = archive.with_name(archive.name.removesuffix(".zip").removesuffix(".tar.gz") + ".cdx.json")
    bill.write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return bill


def _entry(component: Component) -> Mapping[str, Any]:
    named = {"expression": component.licence}
    if not _EXPRESSION.fullmatch(component.licence):  # words of an older package
        named = {"license": {"name": component.licence}}
    entry: dict[str, Any] = {"type": "library", "bom-ref": component.purl, "name": component.name}
    if component.version:
        entry["version"] = component.version
    entry |= {"purl": component.purl, "licenses": [named]}
    return entry | ({"components": list(component.parts)} if component.parts else {})


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
