import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from warehouse.errors import CorruptFileError
from warehouse.files import parquet_bytes, read_parquet, replace_folder, write_bytes, write_parquet

SCHEMA = pa.schema([("n", pa.int64())])


def table(*numbers: int) -> pa.Table:
    return pa.table({"n": list(numbers)}, schema=SCHEMA)


def visible(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_written_table_comes_back(tmp_path: Path) -> None:
    assert write_parquet(tmp_path / "a" / "b.parquet", table(1, 2))
    assert read_parquet(tmp_path / "a" / "b.parquet", SCHEMA) == table(1, 2)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.parquet"]


def test_same_content_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert write_bytes(path, b"1")
    before = path.stat()
    assert not write_bytes(path, b"1")
    assert path.stat().st_ino == before.st_ino
    assert write_bytes(path, b"2")


def test_bytes_do_not_depend_on_chunks() -> None:
    pieces = pa.concat_tables([table(1), table(2, 3)])
    assert parquet_bytes(pieces) == parquet_bytes(table(1, 2, 3))


def test_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    write_bytes(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(path, b"new")
    assert visible(tmp_path) == {"x": b"old"}


def test_folder_is_replaced_whole_and_unchanged_files_are_not_rewritten(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    assert replace_folder(folder, {"y=1/a": b"1", "y=2/a": b"2"})
    inode = (folder / "y=1/a").stat().st_ino
    assert replace_folder(folder, {"y=1/a": b"1", "y=3/a": b"3"})
    assert visible(folder) == {"y=1/a": b"1", "y=3/a": b"3"}
    assert (folder / "y=1/a").stat().st_ino == inode
    assert not replace_folder(folder, {"y=1/a": b"1", "y=3/a": b"3"})
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_folder_is_replaced_where_names_cannot_be_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "other")
    replace_folder(tmp_path / "f", {"a": b"1"})
    replace_folder(tmp_path / "f", {"b": b"2"})
    assert visible(tmp_path) == {"f/b": b"2"}


@pytest.mark.parametrize("content", [b"", b"PAR1 half a file", b"not parquet at all" * 100])
def test_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.parquet"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"broken\.parquet: not a readable Parquet file"):
        read_parquet(path, SCHEMA)


def test_file_with_other_columns_is_named(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", table(1))
    with pytest.raises(CorruptFileError, match=r"a\.parquet: columns \['n'\] are not those"):
        read_parquet(tmp_path / "a.parquet", pa.schema([("m", pa.int64())]))


WRITER = """
import sys
from pathlib import Path
from warehouse.files import replace_folder, write_bytes
root = Path(sys.argv[1])
print("ready", flush=True)
i = 0
while True:
    i += 1
    write_bytes(root / "single", b"%d" % i * 200_000)
    replace_folder(root / "folder", {f"part={k}/x": b"%d" % i * 50_000 for k in range(4)})
"""


def test_kill_at_any_moment_leaves_whole_files_and_unmixed_folders(tmp_path: Path) -> None:
    for delay in (0.02, 0.05, 0.083, 0.11, 0.17, 0.031):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        contents = [p.read_bytes() for p in (tmp_path / "single",) if p.exists()]
        parts = [p.read_bytes() for p in sorted((tmp_path / "folder").glob("part=*/x"))]
        for content, repeats in [*((c, 200_000) for c in contents), *((c, 50_000) for c in parts)]:
            number = content[: len(content) // repeats]
            assert content == number * repeats
        assert len(parts) in (0, 4)
        assert len(set(parts)) <= 1, "files of two writes stand side by side"
    assert contents
    assert parts
    left = [p for p in tmp_path.iterdir() if p.name not in ("single", "folder")]
    assert all(p.name.startswith(".") and p.name.endswith(".tmp") for p in left)


STEPS = """
import os, pathlib, shutil, signal, sys
from pathlib import Path
from warehouse import files

def killed_after(step):
    count = 0
    def dying(real):
        def call(*args, **options):
            nonlocal count
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)
        return call
    for owner, name in ((os, "fsync"), (os, "link"), (os, "rename"), (os, "replace"), (shutil, "rmtree"),
                        (Path, "mkdir"), (Path, "write_bytes"), (Path, "rename"), (Path, "replace"),
                        (files, "_exchange")):
        setattr(owner, name, dying(getattr(owner, name)))

old, new = {"y=1/b": b"kept", "y=2/b": b"old"}, {"y=1/b": b"kept", "y=2/b": b"new", "y=3/b": b"new"}
for step in range(1, 100):
    root = Path(sys.argv[1]) / str(step)
    files.replace_folder(root / "folder", old)
    files.write_bytes(root / "single", b"old")
    child = os.fork()
    if not child:
        killed_after(step)
        files.replace_folder(root / "folder", new)
        files.write_bytes(root / "single", b"new")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    found = {p.relative_to(root / "folder").as_posix(): p.read_bytes() for p in (root / "folder").glob("*/b")}
    state = {str(old): "old", str(new): "new"}.get(str(dict(sorted(found.items()))), "broken")
    print(step, os.WIFSIGNALED(status), state, (root / "single").read_bytes().decode(), flush=True)
    if not os.WIFSIGNALED(status):
        break
"""


def test_kill_before_each_single_step_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STEPS, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    states = [(folder, single) for _, _, folder, single in lines]
    assert len(lines) > 12
    assert lines[-1][1:] == ["False", "new", "new"]
    assert set(states) == {("old", "old"), ("new", "old"), ("new", "new")}
    assert states == sorted(states, key=lambda s: (s[0] == "new", s[1] == "new"))


def test_leftovers_of_a_killed_process_go_with_a_later_write_once_old(tmp_path: Path) -> None:
    old, fresh, strange = tmp_path / ".x.1.ab.tmp", tmp_path / ".x.2.cd.tmp", tmp_path / ".y.1.ab.tmp"
    for left in (old, fresh, strange):
        left.mkdir()
        (left / "part").write_bytes(b"half")
    for left in (old, strange):
        os.utime(left, (time.time() - 4000, time.time() - 4000))
    write_bytes(tmp_path / "x", b"whole")
    assert {p.name for p in tmp_path.iterdir()} == {"x", fresh.name, strange.name}
