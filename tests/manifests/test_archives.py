"""The archives of `istioctl bug-report`, whole, cut, repacked, unpacked and hostile."""

from __future__ import annotations

import gzip
import io
import tarfile
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from meshtrust.errors import ToolError
from meshtrust.manifests import Recording
from meshtrust.manifests.archives import gunzip, members
from meshtrust.objects import Ref, Unread

if TYPE_CHECKING:
    from pathlib import Path

    from manifests.conftest import Pack, Read, Secret

RESOURCES = "bug-report/cluster/k8s-resources"
POD = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: istiod}}\n"
TAKEN_AT = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


@pytest.fixture
def healthy(recorded: Path) -> bytes:
    return (recorded / "healthy.bug-report.tar.gz").read_bytes()


@pytest.mark.parametrize("folder", ["", "bug-report", "bug-report/cluster"])
def test_an_unpacked_archive_is_the_same_mesh(read: Read, tmp_path: Path, healthy: bytes, folder: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(healthy)) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    found = Recording.read([str(tmp_path / "unpacked" / folder)], io.BytesIO())
    whole = read(healthy)
    assert found == (replace(whole, answers={}) if folder.endswith("cluster") else whole)  # proxies/ lies beside it


def test_an_archive_is_told_by_its_content(read: Read, pack: Pack) -> None:
    packed = pack({RESOURCES: POD})
    assert read(gzip.decompress(packed)) == read(packed) == read(pack({"cluster/k8s-resources": POD}))
    assert read(packed).holds("Pod")


def test_secrets_count_where_the_report_was_asked_for_them(read: Read, pack: Pack, secret: Secret) -> None:
    table = "NAMESPACE      NAME      TYPE     DATA   AGE\nistio-system   cacerts   Opaque   4      5d\n"
    without, full = (read(pack({RESOURCES: POD, "bug-report/cluster/secrets": text})) for text in (table, secret()))
    assert (without.holds("Secret"), full.holds("Secret")) == (False, True)
    assert (without.unread, full.unread) == ((), ())


def test_a_broken_file_in_an_archive_is_missed_by_name(read: Read, tmp_path: Path, pack: Pack) -> None:
    broken = "apiVersion: v1\nkind: List\nitems:\n- kind: ConfigMap\n  metadata: {name: istio-ca-root-cert\n"
    recording = read(pack({RESOURCES: POD, "bug-report/cluster/k8s-cluster-resources": broken, "x/notes.txt": broken}))
    place = Ref("File", "", str(tmp_path / "given-0"), "bug-report/cluster/k8s-cluster-resources")
    assert recording.holds("Pod")
    assert recording.unread == (Unread(place, "line 6, column 1: did not find expected ',' or '}'"),)
    assert str(place) == f"File {tmp_path}/given-0 [bug-report/cluster/k8s-cluster-resources]"


def test_what_comes_before_a_cut_is_read_and_the_cut_is_said(read: Read, tmp_path: Path, healthy: bytes) -> None:
    unpacked = gzip.decompress(healthy)
    header = unpacked.index(b"bug-report/istio/istio-system/istiod-")
    inside = unpacked.index(b"bug-report/cluster/pods") + 2000
    cuts = {
        "in the packed bytes": (healthy[: len(healthy) // 2], "was cut or damaged: what follows"),
        "in a file": (unpacked[:inside], "was cut or damaged: what follows bug-report/cluster/nodes"),
        "before a header": (unpacked[:header], "was cut or damaged: what follows bug-report/cluster/secrets"),
        "in a header": (unpacked[: header + 100], "was cut or damaged: what follows bug-report/cluster/secrets"),
        "where a header is no header": (
            unpacked[:header] + b"?" * 512 + unpacked[header + 512 :],
            "was cut or damaged: what follows bug-report/cluster/secrets",
        ),
        "in the checksum": (healthy[:-8] + b"\0\0\0\0" + healthy[-4:], "is damaged: gzip cannot unpack all of it"),
        "in the last bytes": (healthy[:-4], "ends too early: the archive was cut"),
    }
    for where, (content, why) in cuts.items():
        recording = read(content)
        assert recording.holds("Pod"), where
        assert [unread.ref for unread in recording.unread] == [Ref("File", "", str(tmp_path / "given-0"))], where
        assert recording.unread[0].why.startswith(why), where


@pytest.mark.parametrize("length", [2, 20, 400])
def test_an_archive_cut_before_its_first_manifest_is_an_error(read: Read, healthy: bytes, length: int) -> None:
    with pytest.raises(ToolError, match=r"given-0: (ends too early|was cut or damaged)"):
        read(healthy[:length])


@pytest.mark.parametrize("content", [bytes(10240), gzip.compress(bytes(10240))])
def test_an_archive_of_nothing_is_an_error(read: Read, content: bytes) -> None:
    with pytest.raises(ToolError, match="given-0: holds no object of Kubernetes that tells of a mesh"):
        read(content)


@pytest.mark.parametrize(
    ("magic", "packer"),
    [(b"PK\x03\x04", "zip"), (b"BZh9", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd")],
)
def test_another_packer_is_called_by_its_name(read: Read, magic: bytes, packer: str) -> None:
    with pytest.raises(ToolError, match=f"given-0: is packed with {packer}") as refused:
        read(magic + bytes(100))
    assert refused.value.hint == "unpack it first, and give the files or the folder with -f"


def test_hostile_names_and_links_reach_no_disk(read: Read, tmp_path: Path) -> None:
    outside = tmp_path / "outside.yaml"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:") as archive:
        for name in (str(outside), "../outside.yaml", "bug-report/../../cluster/k8s-resources"):
            entry = tarfile.TarInfo(name)
            entry.size = len(POD)
            archive.addfile(entry, io.BytesIO(POD.encode()))
        for kind, name in (
            (tarfile.SYMTYPE, "cluster/secrets"),
            (tarfile.LNKTYPE, "b.yaml"),
            (tarfile.FIFOTYPE, "c.yaml"),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/proc/self/environ"
            archive.addfile(entry)
    recording = read(packed.getvalue())
    assert ([found.ref.name for found in recording.objects("Pod")], recording.unread) == (["istiod"], ())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given-0"]


def test_what_unpacks_without_end_is_refused(secret: Secret, pack: Pack) -> None:
    text = secret(blob="QUJD" * 1000).encode()
    assert gunzip(gzip.compress(text), limit=len(text)).content == text
    with pytest.raises(ToolError, match="is larger than 4,000 bytes") as refused:
        gunzip(gzip.compress(text), limit=4000)
    assert refused.value.hint == "unpack it, and give the files under cluster/ with -f"
    archive = gzip.decompress(pack({"a.yaml": text, "b.yaml": "null\n"}))
    assert [(str(member.path), member.content, member.why) for member in members(archive, limit=4000)] == [
        ("a.yaml", None, "is larger than what may be unpacked"),
        ("b.yaml", b"null\n", ""),
    ]


def test_a_size_below_zero_ends_the_archive(read: Read, tmp_path: Path) -> None:
    good, bad = tarfile.TarInfo("a.yaml"), tarfile.TarInfo("b.yaml")
    good.size, bad.size = len(POD), -512
    blocks = (
        good.tobuf(tarfile.GNU_FORMAT),
        POD.encode().ljust(512, b"\0"),
        bad.tobuf(tarfile.GNU_FORMAT),
        bytes(1024),
    )
    recording = read(b"".join(blocks))
    why = "was cut or damaged: what follows a.yaml was not read"
    assert recording.holds("Pod")
    assert recording.unread == (Unread(Ref("File", "", str(tmp_path / "given-0")), why),)


def test_a_report_was_taken_at_the_last_heartbeat_of_its_cluster(recorded: Path, read: Read, healthy: bytes) -> None:
    taken = {
        path.name.removesuffix(".bug-report.tar.gz"): f"{read(path.read_bytes()).taken_at:%H:%M:%S}"
        for path in recorded.glob("*.bug-report.tar.gz")
    }
    assert taken == {
        "extended-mixed": "06:00:23",
        "healthy": "06:26:20",
        "renewed-other-ski": "06:05:26",
        "ztunnel-healthy": "07:00:30",
        "ztunnel-one-identity-renewed": "07:02:12",
        "ztunnel-one-identity-unavailable": "07:10:24",
    }
    assert read(healthy, (recorded / "healthy.secrets.yaml").read_bytes()).taken_at == read(healthy).taken_at
    assert read(healthy).taken_at == datetime(2026, 11, 24, 6, 26, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    "stamp",
    [
        'lastHeartbeatTime: "2026-11-24T06:00:00Z"',
        "lastHeartbeatTime: '2026-11-24T06:00:00Z'",
        '{"lastHeartbeatTime": "2026-11-24T06:00:00Z"}',
        """leader: '{"holderIdentity":"a","renewTime":"2026-11-24T06:00:00Z"}'""",
        r'"leader": "{\"holderIdentity\":\"a\",\"renewTime\":\"2026-11-24T06:00:00.000000Z\"}"',
        'lastHeartbeatTime: "2026-11-24T06:00:00Z"\nlastHeartbeatTime: "2026-11-23T06:00:00Z"',
        'lastHeartbeatTime: "2026-11-24T06:00:00Z"\nlastHeartbeatTime: "2026-11-45T06:00:00Z"',
    ],
)
def test_a_heartbeat_is_found_in_every_form(read: Read, pack: Pack, stamp: str) -> None:
    assert read(pack({RESOURCES: POD, "cluster/k8s-cluster-resources": stamp})).taken_at == TAKEN_AT


def test_a_report_without_a_heartbeat_was_taken_when_its_files_were_written(read: Read, pack: Pack) -> None:
    files = {RESOURCES: POD, "versions": "1.31.0"}
    noon = int(datetime(2026, 11, 24, 12, 0, tzinfo=UTC).timestamp())
    assert read(pack(files, modified=noon)).taken_at == datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    assert read(pack(files, modified=0)).taken_at is None
    assert read(pack({"mesh.yaml": POD}, modified=noon)).taken_at is None


def test_of_two_reports_the_later_one_tells_the_time(read: Read, pack: Pack) -> None:
    beat = 'lastHeartbeatTime: "2026-11-24T0{}:00:00Z"'
    early, late = (pack({RESOURCES: POD, "cluster/k8s-cluster-resources": beat.format(hour)}) for hour in (5, 6))
    assert read(early, late).taken_at == read(late, early).taken_at == TAKEN_AT


def test_plain_yaml_does_not_say_when_it_was_taken(read: Read) -> None:
    assert read(f"{POD}# lastHeartbeatTime: 2026-11-24T06:00:00Z\n").taken_at is None
