"""Container images without a registry: docker-archives of one layer each, made of programs that are here."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cluster.programs import ISTIO, cache_folder, pins

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cluster.programs import Programs

PROXY_IMAGE = f"docker.io/istio/proxyv2:{ISTIO}"
_BUSYBOX = "/bin/busybox"
_APPLETS = ("sh", "sleep", "wget", "httpd", "cat", "ls", "mkdir", "nc", "id", "ps", "env", "date", "echo", "timeout")
_XTABLES = "/usr/sbin/xtables-nft-multi"
_XTABLES_FOLDER = Path("/usr/lib/x86_64-linux-gnu/xtables")
_XTABLES_NAMES = tuple(
    f"{family}tables{variant}{verb}"
    for family in ("ip", "ip6")
    for variant in ("", "-nft")
    for verb in ("", "-save", "-restore")
)
# Without it, pilot-agent warns on stdout, before its answers.
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_SERVE = "mkdir -p /tmp/w; echo hello > /tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w"


@dataclass(frozen=True, slots=True)
class Image:
    """What is in an image: its files by their place in it, its links, and programs that bring their libraries."""

    name: str
    entrypoint: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    linked_programs: Mapping[str, str] = field(default_factory=dict)
    user: str = ""


def archives(programs: Programs) -> tuple[Path, ...]:
    """Give the archives of all images, made at the first call with these programs."""
    said = hashlib.sha256(pins().encode())
    for path in (__file__, _BUSYBOX, _XTABLES):
        said.update(Path(path).read_bytes())
    folder = cache_folder() / f"images-{said.hexdigest()[:16]}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(prefix="images-", dir=cache_folder()) as part:
            for number, image in enumerate(_images(programs)):
                _write(image, Path(part, f"{number}.tar"))
            Path(part).chmod(0o755)
            Path(part).rename(folder)
    return tuple(sorted(folder.glob("*.tar")))


def _images(programs: Programs) -> Iterable[Image]:
    shell = {"bin/busybox": _BUSYBOX}
    applets = {f"bin/{name}": "busybox" for name in _APPLETS}
    yield Image("local/pause:1", ("/bin/busybox", "sleep", "1000000000"), shell)
    yield Image("local/app:1", ("/bin/sh", "-c", _SERVE), shell, applets)
    yield Image(
        f"docker.io/istio/pilot:{ISTIO}",
        ("/usr/local/bin/pilot-discovery",),
        {**shell, "usr/local/bin/pilot-discovery": programs["pilot-discovery"]},
        applets,
        user="1337:1337",  # its pod wants runAsNonRoot
    )
    extensions = (path for path in _XTABLES_FOLDER.glob("lib*.so") if re.match(r"lib(xt|ipt|ip6t)_", path.name))
    yield Image(
        PROXY_IMAGE,
        ("/usr/local/bin/pilot-agent",),
        {
            **shell,
            "usr/local/bin/pilot-agent": programs["pilot-agent"],
            "var/lib/istio/envoy/envoy_bootstrap_tmpl.json": str(programs.bootstrap),
            _CERTIFICATES.lstrip("/"): _CERTIFICATES,
            **{str(path).lstrip("/"): str(path) for path in extensions},
        },
        {**applets, **{f"usr/sbin/{name}": "xtables-nft-multi" for name in _XTABLES_NAMES}},
        {"usr/local/bin/envoy": programs["envoy"], "usr/sbin/xtables-nft-multi": _XTABLES},
    )


def under_another_name(name: str, original: str, programs: Programs, folder: Path) -> Path:
    """Make an archive of an image with the same files and an id of its own: two tags of one id are told as either."""
    for path in archives(programs):
        with tarfile.open(path) as archive:
            (manifest,) = json.load(_member(archive, "manifest.json"))
            if original in manifest["RepoTags"]:
                settings = json.load(_member(archive, manifest["Config"]))
                settings["config"]["Labels"] = {"name": name}
                packed = folder / "image.tar"
                _pack(packed, name, settings, _member(archive, manifest["Layers"][0]).read())
                return packed
    raise LookupError(original)


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    found = archive.extractfile(name)
    if found is None:
        raise LookupError(name)
    return found


def _write(image: Image, path: Path) -> None:
    layer = _layer(image)
    settings = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{}],
        "config": {
            "User": image.user,
            "Entrypoint": image.entrypoint,
            "Env": ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        },
    }
    _pack(path, image.name, settings, layer)


def _pack(path: Path, name: str, settings: Mapping[str, Any], layer: bytes) -> None:
    described = _json(settings)
    named = f"{hashlib.sha256(described).hexdigest()}.json"
    inside = f"{hashlib.sha256(layer).hexdigest()}/layer.tar"
    manifest = [{"Config": named, "RepoTags": [name], "Layers": [inside]}]
    with tarfile.open(path, "w") as archive:
        for place, content in ((named, described), (inside, layer), ("manifest.json", _json(manifest))):
            entry = tarfile.TarInfo(place)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def _layer(image: Image) -> bytes:
    files = dict(image.files)
    for inside, program in image.linked_programs.items():
        files |= {inside: program, **{library.lstrip("/"): library for library in _libraries(program)}}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", dereference=True) as layer:
        for folder in ("tmp", "etc", "dev", "proc", "sys", "run", "var", "var/run", "var/lib"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            layer.addfile(entry)
        for inside, source in files.items():
            entry = layer.gettarinfo(str(Path(source).resolve()), inside)
            entry.mode, entry.uid, entry.gid, entry.mtime = 0o755, 0, 0, 0
            with Path(source).open("rb") as content:
                layer.addfile(entry, content)
        for inside, target in image.links.items():
            entry = tarfile.TarInfo(inside)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            layer.addfile(entry)
    return packed.getvalue()


def _libraries(program: str) -> Iterable[str]:
    """Name every shared library that the dynamic linker would load, at the place where it looks for it."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return (found[1] for found in re.finditer(r"(/\S+) \(0x", listed))


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
