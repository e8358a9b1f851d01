"""What `-f` takes: files, folders, standard input, and what it says of those that it cannot read."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from meshtrust.errors import ToolError, UsageError
from meshtrust.manifests import Recording
from meshtrust.objects import Ref, Unread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifests.conftest import Pack, Secret

UNREADABLE = Path("/proc/self/mem")  # a regular file that even root cannot read from its start


def read(*paths: Path | str, stdin: bytes = b"") -> Recording:
    return Recording.read([str(path) for path in paths], io.BytesIO(stdin))


def names(recording: Recording) -> list[str]:
    return [found.ref.name for found in recording.objects("Secret")]


@contextmanager
def nobody(folder: Path) -> Iterator[None]:
    """Root may read everything: be somebody else for a while, who may enter the folder."""
    root = os.geteuid() == 0
    if root:
        for parent in (folder, *folder.parents):
            if parent == Path(tempfile.gettempdir()):
                break
            parent.chmod(0o755)  # those that pytest made
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_folder_is_read_with_what_lies_below(tmp_path: Path, secret: Secret, pack: Pack) -> None:
    inner = tmp_path / "namespaces" / "istio-system"
    inner.mkdir(parents=True)
    (inner / "a.yaml").write_text(secret("a"))
    (inner / "b.yml").write_text(secret("b"))
    (tmp_path / "c.json").write_text(secret("c"))
    (tmp_path / "d.tgz").write_bytes(pack({"d.yaml": secret("d")}))
    (tmp_path / "linked.yaml").symlink_to(inner / "a.yaml")
    (tmp_path / "notes.txt").write_text(secret("not-a-manifest"))
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.yaml")
    recording = read(tmp_path)
    assert names(recording) == ["a", "b", "c", "d"]
    assert [unread.ref.name for unread in recording.unread] == [str(tmp_path / "gone.yaml")]


def test_in_a_folder_only_what_should_be_a_manifest_is_missed(tmp_path: Path, secret: Secret) -> None:
    (tmp_path / "good.yaml").write_text(secret("good"))
    (tmp_path / "values.yaml").write_text("image: {{ .Values.image }}\n")
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "broken.yaml").write_text("kind: Secret\nmetadata:\n\tname: a\n")
    (tmp_path / "picture.json").write_bytes(b"\x89PNG\r\n\0\0")
    (tmp_path / "memory.yaml").symlink_to(UNREADABLE)
    recording = read(tmp_path)
    assert names(recording) == ["good"]
    assert recording.unread == (
        Unread(
            Ref("File", "", str(tmp_path / "broken.yaml")),
            "line 3, column 1: a tab indents it, YAML takes only spaces",
        ),
        Unread(Ref("File", "", str(tmp_path / "memory.yaml")), "cannot be read: Input/output error"),
        Unread(Ref("File", "", str(tmp_path / "picture.json")), "is a binary file"),
    )


@pytest.mark.parametrize("content", [None, "image: proxyv2\n", '{"kind": "Service", "apiVersion": "v1"}'])
def test_a_folder_that_tells_nothing_is_an_error(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(ToolError, match="holds no object of Kubernetes that tells of a mesh") as refused:
        read(tmp_path)
    assert refused.value.message.startswith(f"{tmp_path}: ")
    assert (
        refused.value.hint
        == "expected the output of kubectl get -o yaml or -o json, or a bug-report.tar.gz of istioctl"
    )


def test_what_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as refused:
        read(tmp_path / "mesh.yaml")
    assert refused.value.message == f"{tmp_path}/mesh.yaml: no such file or folder"


def test_what_is_named_must_be_readable() -> None:
    with pytest.raises(ToolError) as refused:
        read(UNREADABLE)
    assert refused.value.message == f"{UNREADABLE}: cannot be read: Input/output error"


def test_a_file_that_is_not_ours_to_read_is_named(tmp_path: Path, secret: Secret) -> None:
    (tmp_path / "mesh.yaml").write_text(secret())
    (tmp_path / "mesh.yaml").chmod(0)
    with nobody(tmp_path):
        with pytest.raises(ToolError) as refused:
            read(tmp_path / "mesh.yaml")
        recording = read(tmp_path)
    assert refused.value.message == f"{tmp_path}/mesh.yaml: cannot be read: Permission denied"
    assert recording.unread == (Unread(Ref("File", "", f"{tmp_path}/mesh.yaml"), "cannot be read: Permission denied"),)


def test_a_folder_that_is_not_ours_to_read_is_named(tmp_path: Path, secret: Secret) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    (tmp_path / "listed").mkdir()
    (tmp_path / "listed" / "a.yaml").write_text(secret())
    (tmp_path / "listed").chmod(0o444)
    with nobody(tmp_path):
        with pytest.raises(ToolError) as refused:
            read(tmp_path / "closed")
        with pytest.raises(ToolError) as refused_inside:
            read(tmp_path / "closed" / "a.yaml")
        recording = read(tmp_path)
    (tmp_path / "listed").chmod(0o755)
    assert refused.value.message == f"{tmp_path}/closed: cannot be read: Permission denied"
    assert refused_inside.value.message == f"{tmp_path}/closed/a.yaml: cannot be read: Permission denied"
    places = [str(unread.ref) for unread in recording.unread]
    assert places == [f"File {tmp_path}/closed", f"File {tmp_path}/listed/a.yaml"]


def test_standard_input_stands_beside_files(tmp_path: Path, secret: Secret, pack: Pack) -> None:
    (tmp_path / "a").write_text(secret("a"))
    assert names(read(tmp_path / "a", "-", stdin=secret("b").encode())) == ["a", "b"]
    assert names(read("-", tmp_path / "a", stdin=pack({"c.yaml": secret("c")}))) == ["a", "c"]


def test_standard_input_is_read_once() -> None:
    with pytest.raises(UsageError, match="-f - is given twice: standard input can be read only once"):
        read("-", "-", stdin=b"{}")


def test_an_empty_standard_input_is_named() -> None:
    with pytest.raises(ToolError, match=r"^standard input: is empty$"):
        read("-")


def test_a_terminal_is_no_recording() -> None:
    leader, follower = pty.openpty()
    with os.fdopen(leader), os.fdopen(follower, "rb") as terminal, pytest.raises(UsageError, match="is a terminal"):
        Recording.read(["-"], terminal)


def test_a_pipe_in_place_of_a_file_is_read(secret: Secret) -> None:
    """`-f <(kubectl get …)`, as bash gives it."""
    reader, writer = os.pipe()
    os.write(writer, secret("a").encode())
    os.close(writer)
    try:
        assert names(read(f"/dev/fd/{reader}")) == ["a"]
    finally:
        os.close(reader)


def test_a_name_that_is_not_utf_8_can_be_printed(tmp_path: Path, secret: Secret) -> None:
    folder = tmp_path / os.fsdecode(b"b\xfcro")
    folder.mkdir()
    (folder / "a.yaml").write_text(secret("a"))
    (folder / "b.yaml").write_text("kind: Secret: b\n")
    recording = read(folder)
    assert (names(recording), [str(unread.ref) for unread in recording.unread]) == (
        ["a"],
        [f"File {tmp_path}/b\\udcfcro/b.yaml"],
    )


def test_a_run_without_files_does_not_pay_for_them() -> None:
    code = "import sys, meshtrust.manifests; print({'yaml', 'tarfile', 'gzip'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
