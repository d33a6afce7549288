"""Archives that are made to do harm, or were damaged: none is loaded, and nothing comes of trying."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tarfile
import tracemalloc
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.archive import load_model, save_model
from assistant.encoding import members_of
from assistant.project import InvalidModel
from assistant.unpacking import MAX_MEMBERS
from tests.assistant.bots import BOTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MEGABYTE: Final = 2**20
MOST_MEMORY: Final = 220 * MEGABYTE
MODEL: Final = load_model(BOTS / "form_basic").model
SOUND: Final = members_of(MODEL)


def refusal(path: Path) -> str:
    """Why an archive is refused. Nothing may be written meanwhile beside it."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(InvalidModel) as caught:
        load_model(path)
    assert sorted(path.parent.rglob("*")) == before
    return str(caught.value).removeprefix(f"{path}: ")


# --- making them ------------------------------------------------------------------------------------------------------


def entry(name: str, data: bytes = b"", **facts: Any) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for fact, value in facts.items():
        setattr(member, fact, value)
    return member, data


def tar(entries: Sequence[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for member, data in entries:
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def zip_of(entries: Sequence[tuple[zipfile.ZipInfo | str, bytes]]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in entries:
            archive.writestr(member, data)
    return file.getvalue()


def sound_tar(*more: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A model's archive with more in it."""
    return tar([*(entry(name, data) for name, data in SOUND.items()), *more])


def sound_zip(*more: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    return zip_of([*SOUND.items(), *more])


def in_tar(folder: Path, *more: tuple[tarfile.TarInfo, bytes]) -> Path:
    return written(folder / "m.tar.gz", gzip.compress(sound_tar(*more)))


def in_zip(folder: Path, *more: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    return written(folder / "m.zip", sound_zip(*more))


def written(path: Path, data: bytes | bytearray) -> Path:
    path.write_bytes(data)
    return path


def zipped(name: str, mode: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    return member


# --- members ----------------------------------------------------------------------------------------------------------

ESCAPES: Final = (
    "../x",
    "a/../../x",
    "a/..",
    "/etc/x",
    "//x",
    "C:/x",
    "c:x",
    "..\\x",
    "a\\b",
    "\\\\host\\x",
)


@pytest.mark.parametrize("name", ESCAPES)
def test_a_path_out_of_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    reason = f"the member {name!r} leads out of the archive"
    assert refusal(in_tar(tmp_path, entry(name, b"x"))) == reason
    assert refusal(in_zip(tmp_path, (name, b"x"))) == reason


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31m", "\udcff.json", "a\x7f"])
def test_a_name_of_odd_characters_is_refused(tmp_path: Path, name: str) -> None:
    reason = refusal(in_tar(tmp_path, entry(name, b"x")))
    assert reason == f"the member {name!r} has a name with characters that are not allowed"


def test_a_zip_with_a_name_that_ends_early_is_refused(tmp_path: Path) -> None:
    data = sound_zip(("metadata.json_x", b"{}")).replace(b"metadata.json_x", b"metadata.json\0x")
    reason = refusal(written(tmp_path / "m.zip", data))
    assert reason == "the member 'metadata.json\\x00x' has a name with characters that are not allowed"


def test_a_very_long_name_is_shown_in_part(tmp_path: Path) -> None:
    assert len(refusal(in_tar(tmp_path, entry("../" + "x" * 10_000)))) < 300


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["/etc/passwd", "metadata.json"])
def test_a_link_is_refused(tmp_path: Path, kind: bytes, target: str) -> None:
    path = in_tar(tmp_path, entry("shortcut", type=kind, linkname=target))
    assert refusal(path) == f"the member 'shortcut' is a link, to {target!r}"


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z"])
def test_a_device_is_refused(tmp_path: Path, kind: bytes) -> None:
    assert refusal(in_tar(tmp_path, entry("tty", type=kind))) in (
        "the member 'tty' is neither a file nor a folder",
        "the member 'tty' is a device",
    )


@pytest.mark.parametrize(("mode", "what"), [(0o120777, "link"), (0o020666, "device"), (0o010666, "device")])
def test_a_link_or_device_in_a_zip_is_refused(tmp_path: Path, mode: int, what: str) -> None:
    assert refusal(in_zip(tmp_path, (zipped("x", mode), b"/etc/passwd"))) == f"the member 'x' is a {what}"


@pytest.mark.parametrize("name", ["domain.json", "./domain.json", "domain.json/"])
def test_a_name_that_comes_twice_is_refused(tmp_path: Path, name: str) -> None:
    assert refusal(in_tar(tmp_path, entry(name, b"{}"))) == "the member 'domain.json' is there twice"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice_in_a_zip_is_refused(tmp_path: Path) -> None:
    assert refusal(in_zip(tmp_path, ("domain.json", b"{}"))) == "the member 'domain.json' is there twice"


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    data = bytearray(sound_zip())
    at = data.index(b"PK\1\2")
    data[at + 8] |= 1
    assert refusal(written(tmp_path / "m.zip", data)) == "the member 'metadata.json' is encrypted"


def test_a_rare_packing_is_refused(tmp_path: Path) -> None:
    member = zipfile.ZipInfo("weights")
    member.compress_type = zipfile.ZIP_LZMA
    file = io.BytesIO(sound_zip())
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(member, b"x")
    reason = refusal(written(tmp_path / "m.zip", file.getvalue()))
    assert reason == "the member 'weights' is not packed by deflate, as zip files usually are"


# --- bombs ------------------------------------------------------------------------------------------------------------


def frugal_refusal(path: Path) -> str:
    """Why an archive is refused, which must not take much memory."""
    tracemalloc.start()
    reason = refusal(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MOST_MEMORY
    return reason


def bomb(name: str, megabytes: int) -> bytes:
    """A .tar.gz of one member of zeros, some 1,000 times smaller than that, made of many gzip streams."""
    member = tarfile.TarInfo(name)
    member.size = megabytes * MEGABYTE
    zeros = gzip.compress(bytes(16 * MEGABYTE))
    return gzip.compress(member.tobuf()) + zeros * (megabytes // 16) + gzip.compress(bytes(1024))


class TestBombs:
    @pytest.mark.parametrize("name", ["domain.json", "weights"])
    def test_what_unpacks_to_very_much_is_refused(self, tmp_path: Path, name: str) -> None:
        reason = frugal_refusal(written(tmp_path / "m.tar.gz", bomb(name, 240)))
        assert reason.startswith(f"the member {name!r} makes it unpack to more than ")

    def test_a_member_that_says_that_it_is_large_is_not_read(self, tmp_path: Path) -> None:
        reason = frugal_refusal(written(tmp_path / "m.tar.gz", bomb("domain.json", 16 * 1000)[:100_000]))
        assert reason == "the member 'domain.json' is too large: 268435456 bytes are read in all"

    def test_a_zip_that_unpacks_to_very_much_is_refused(self, tmp_path: Path) -> None:
        path = written(tmp_path / "m.zip", zip_of([("domain.yml", bytes(240 * MEGABYTE))]))
        assert frugal_refusal(path).startswith("the member 'domain.yml' makes it unpack to more than ")

    def test_a_zip_that_hides_how_large_it_is_is_refused(self, tmp_path: Path) -> None:
        data = bytearray(zip_of([("domain.yml", bytes(100 * MEGABYTE))]))
        at = data.index(b"PK\1\2")
        data[at + 24 : at + 28] = struct.pack("<L", 10)
        assert frugal_refusal(written(tmp_path / "m.zip", data)).startswith("can't be read as a zip file: Bad CRC-32")

    @pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
    def test_a_large_header_is_not_read(self, tmp_path: Path, kind: bytes) -> None:
        member = tarfile.TarInfo("x")
        member.type, member.size = kind, 500 * MEGABYTE
        zeros = gzip.compress(bytes(16 * MEGABYTE))
        path = written(tmp_path / "m.tar.gz", gzip.compress(member.tobuf(tarfile.GNU_FORMAT)) + zeros * 32)
        assert frugal_refusal(path) == "has a header of 524288000 bytes behind the member ''"

    def test_many_headers_before_one_member_are_refused(self, tmp_path: Path) -> None:
        header = tarfile.TarInfo("x")
        header.type, header.size = tarfile.XHDTYPE, 60_000
        one = header.tobuf(tarfile.GNU_FORMAT) + b"9 a=bbbb\n" + bytes(60_416 - 9)
        path = written(tmp_path / "m.tar.gz", gzip.compress(one * 2000, 1))
        assert frugal_refusal(path).startswith("can't be read as a .tar.gz file: ")

    def test_very_many_members_are_refused(self, tmp_path: Path) -> None:
        reason = f"holds more than {MAX_MEMBERS} members; '{MAX_MEMBERS - len(SOUND)}' is the first one too many"
        assert refusal(in_tar(tmp_path, *map(entry, map(str, range(MAX_MEMBERS))))) == reason
        assert refusal(in_zip(tmp_path, *((str(number), b"") for number in range(MAX_MEMBERS)))) == reason

    def test_a_zip_with_a_large_directory_is_refused(self, tmp_path: Path) -> None:
        path = in_zip(tmp_path, *((f"{number:0200}", b"") for number in range(10_000)))
        assert frugal_refusal(path) == "has a directory of more than 2097152 bytes"


# --- what is no archive -----------------------------------------------------------------------------------------------


def test_half_an_archive_is_refused(tmp_path: Path) -> None:
    for path in (in_tar(tmp_path), in_zip(tmp_path)):
        whole = path.read_bytes()
        for length in range(0, len(whole), 97):
            assert refusal(written(path, whole[:length]))
        assert refusal(written(path, whole[:-1]))


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("m.tar.gz", b"", "can't be read as a .tar.gz file: "),
        ("m.tar.gz", b"PK\3\4", "can't be read as a .tar.gz file: Not a gzipped file (b'PK')"),
        ("m.tar.gz", gzip.compress(b"x" * 2000), "can't be read as a .tar.gz file: "),
        ("m.tar.gz", gzip.compress(sound_tar())[:-4] + b"1234", "can't be read as a .tar.gz file: Incorrect length"),
        ("m.tar.gz", sound_tar(), "can't be read as a .tar.gz file: Not a gzipped file"),
        ("m.zip", b"", "can't be read as a zip file: File is not a zip file"),
        ("m.zip", gzip.compress(sound_tar()), "can't be read as a zip file: File is not a zip file"),
    ],
    ids=["nothing", "a zip", "gzip of no tar", "a wrong length", "not packed", "no zip", "a tar for a zip"],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    assert refusal(written(tmp_path / name, data)).startswith(reason)


def test_what_is_beside_a_model_does_not_matter(tmp_path: Path) -> None:
    for path in (in_tar(tmp_path, entry("README", b"x")), in_zip(tmp_path, ("README", b"x"))):
        assert load_model(path).model.id == MODEL.id


# --- damage -----------------------------------------------------------------------------------------------------------


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The same with some bytes changed, cut out, repeated or cut off."""
    result = bytearray(data)
    for _ in range(chance.randint(1, 5)):
        at, length = chance.randrange(len(result) + 1), chance.choice((1, 2, 8, 100, 600))
        what = chance.randrange(4)
        if what == 0:
            result[at : at + length] = chance.randbytes(length)
        elif what == 1:
            del result[at : at + length]
        elif what == 2:
            result[at:at] = result[chance.randrange(len(result) + 1) :][:length]
        else:
            result[at : at + length] = bytes([chance.choice((0, 0x30, 0x80, 0xFF))]) * length
    return bytes(result)


def with_right_sums(data: bytes) -> bytes:
    """A tar whose headers have their checksums: what is wrong in them is then looked at."""
    result = bytearray(data)
    for at in range(0, len(result) - 511, 512):
        block = result[at : at + 512]
        if block[257:262] == b"ustar":
            result[at + 148 : at + 156] = b"%06o\0 " % (256 + sum(block[:148]) + sum(block[156:]))
    return bytes(result)


def _tars() -> list[bytes]:
    members = [entry("a" * 150, b"1", mtime=1.5), entry("é" * 60, b"2"), entry("components/d/domain.yml", b"slots: {}")]
    return [sound_tar(), tar(members), tar(members, tarfile.GNU_FORMAT)]


TARS: Final = _tars()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@settings(max_examples=600, deadline=None)
@given(chance=st.randoms(use_true_random=False), kind=st.sampled_from(["gzip", "tar", "header", "zip"]))
def test_whatever_is_damaged_is_loaded_or_refused(folder: Path, chance: random.Random, kind: str) -> None:
    if kind == "zip":
        path = written(folder / "m.zip", damaged(sound_zip(), chance))
    elif kind == "gzip":
        path = written(folder / "m.tar.gz", damaged(gzip.compress(TARS[0]), chance))
    else:
        data = damaged(chance.choice(TARS), chance)
        path = written(folder / "m.tar.gz", gzip.compress(with_right_sums(data) if kind == "header" else data, 1))
    with suppress(InvalidModel):
        load_model(path)


def test_any_bytes_in_a_member_are_loaded_or_refused(tmp_path: Path) -> None:
    for seed in range(300):
        chance = random.Random(seed)
        name = chance.choice([*SOUND])
        path = written(tmp_path / "m.zip", zip_of([*(SOUND | {name: damaged(SOUND[name], chance)}).items()]))
        with suppress(InvalidModel):
            save_model(load_model(path).model, tmp_path / "again.zip")
