"""Archives: nothing leaves the folder, nothing explodes, and the same content packs to the same bytes."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from dewfall.engine.archives import BadArchive, Bounds, gunzip, is_empty, pack, unpack


def archive_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> str:
    with tarfile.open(path, "w:gz") as archive:
        for member, data in members:
            archive.addfile(member, io.BytesIO(data))
    return str(path)


def file(name: str, data: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    return member, data


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


@pytest.mark.parametrize(
    "members",
    [
        [file("../evil")],
        [file("/evil")],
        [file("a/../../evil")],
        [link("l", "/etc")],
        [link("l", "../..")],
        [link("l", "../outside", tarfile.LNKTYPE)],
        [link("d", "."), link("d/e", ".."), file("d/e/evil")],
        [link("device", "", tarfile.CHRTYPE)],
    ],
)
def test_escapes_are_refused(tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    (tmp_path / "outside").write_text("secret")
    with pytest.raises(BadArchive):
        unpack(archive_of(tmp_path / "a.tar.gz", *members), str(tmp_path / "in" / "to"))
    assert not list(tmp_path.rglob("evil"))


def test_links_within_and_plain_tars_are_fine(tmp_path: Path) -> None:
    unpack(archive_of(tmp_path / "a.tar.gz", file("d/a"), link("d/b", "a"), link("c", "d/a", tarfile.LNKTYPE)), str(tmp_path / "to"))
    assert [(tmp_path / "to" / name).read_text() for name in ("d/a", "d/b", "c")] == ["x"] * 3


def test_bombs_are_refused_before_they_are_written(tmp_path: Path) -> None:
    source = archive_of(tmp_path / "a.tar.gz", file("zeros", bytes(5_000_000)))
    with pytest.raises(BadArchive, match="exceeds what may be unpacked"):
        unpack(source, str(tmp_path / "to"), Bounds(always_fine=1_000_000, ratio=10))
    assert is_empty(str(tmp_path / "to"))


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    source = archive_of(tmp_path / "a.tar.gz", *[file(str(n)) for n in range(5)])
    with pytest.raises(BadArchive):
        unpack(source, str(tmp_path / "to"), Bounds(members=4))


@pytest.mark.parametrize("data", [b"", b"not an archive", gzip.compress(b"neither", mtime=0)[:-9]], ids=["nothing", "text", "cut short"])
def test_what_is_no_archive_is_said_so(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(BadArchive, match="not a readable tar archive"):
        unpack(str(tmp_path / "a"), str(tmp_path / "to"))


def test_gunzip_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(3_000_000)))
    with pytest.raises(BadArchive):
        gunzip(str(tmp_path / "a.gz"), str(tmp_path / "a"), Bounds(always_fine=1000, ratio=2))
    assert gunzip(str(tmp_path / "a.gz"), str(tmp_path / "a")) == 3_000_000


def test_same_content_packs_to_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "d").mkdir(parents=True)
        (tmp_path / name / "d" / "b").write_text("b")
        (tmp_path / name / "a").write_text("a")
        os.utime(tmp_path / name / "a", (len(name), hash(name) % 1000))
        pack(str(tmp_path / name), str(tmp_path / f"{name}.tar.gz"))
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_what_was_packed_unpacks(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "run.sh").write_text("#!/bin/sh")
    (source / "run.sh").chmod(0o700)
    (source / "to").symlink_to("run.sh")
    (tmp_path / "elsewhere").write_text("content")
    (source / "out").symlink_to("../elsewhere")
    pack(str(source), str(tmp_path / "a.tar.gz"))
    unpack(str(tmp_path / "a.tar.gz"), str(tmp_path / "to"))
    assert (tmp_path / "to" / "to").resolve().name == "run.sh"
    assert (tmp_path / "to" / "out").read_text() == "content"
    assert os.access(tmp_path / "to" / "run.sh", os.X_OK)


def test_pipes_are_not_packed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("x")
    os.mkfifo(tmp_path / "in" / "pipe")
    pack(str(tmp_path / "in"), str(tmp_path / "a.tar.gz"))
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        assert archive.getnames() == ["a"]
