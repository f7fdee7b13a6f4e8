import errno

import pytest

from tltool import errors
from tltool.errors import ImageError, OutputError, TltoolError
from tltool.files import atomic_path, refuse_existing, write_text
from tltool.progress import progress_bar


def everything_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def fail_inside(path, error, folder=False):
    with atomic_path(path) as partial:
        if folder:
            partial.mkdir()
            partial = partial / "file"
        partial.write_text("half")
        raise error


@pytest.mark.parametrize(
    ("name", "builtin", "status"),
    [
        ("UsageError", ValueError, 2),
        ("RecipeError", ValueError, 2),
        ("DataError", ValueError, 1),
        ("ImageError", OSError, 1),
        ("WeightsError", ValueError, 1),
        ("DownloadError", OSError, 1),
        ("ModelError", ValueError, 1),
        ("ConversionError", ValueError, 1),
        ("OutputError", OSError, 1),
    ],
)
def test_each_error_is_a_tltool_error_and_the_builtin_one(name, builtin, status):
    kind = getattr(errors, name)
    with pytest.raises(builtin, match="told so") as caught:
        raise kind("told so")
    assert isinstance(caught.value, TltoolError)
    assert caught.value.exit_status == status


def test_file_appears_only_when_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "map.tif"
    with atomic_path(path) as partial:
        partial.write_text("half")
        assert not path.exists()
        assert partial.suffix == ".tif"
    assert path.read_text() == "half"
    assert everything_in(tmp_path) == ["new", "new/folder", "new/folder/map.tif"]


def test_file_replaces_the_former_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old and longer")
    with atomic_path(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old and longer"
    assert path.read_text() == "new"
    assert everything_in(tmp_path) == ["a.txt"]


def test_folder_replaces_the_former_one_whole(tmp_path):
    path = tmp_path / "data"
    (path / "old").mkdir(parents=True)
    (path / "old" / "file").write_text("old")
    with atomic_path(path) as partial:
        partial.mkdir()
        (partial / "new").write_text("new")
        assert everything_in(path) == ["old", "old/file"]
    assert everything_in(tmp_path) == ["data", "data/new"]


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt(), ImageError("x")])
@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_exception_leaves_nothing_and_passes_unchanged(tmp_path, error, folder):
    with pytest.raises(type(error)) as caught:
        fail_inside(tmp_path / "out", error, folder)
    assert caught.value is error
    assert everything_in(tmp_path) == []


def test_exception_keeps_the_former_folder(tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    (path / "file").write_text("old")
    with pytest.raises(RuntimeError):
        fail_inside(path, RuntimeError(), folder=True)
    assert everything_in(tmp_path) == ["data", "data/file"]
    assert (path / "file").read_text() == "old"


def test_nothing_written_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match=r"out\.txt could not be written"):  # noqa: SIM117
        with atomic_path(tmp_path / "out.txt"):
            pass


def test_os_error_becomes_output_error_naming_the_final_path(tmp_path):
    path = tmp_path / "map.tif"
    denied = PermissionError(
        errno.EACCES, "Permission denied", str(tmp_path / ".partial-1-map.tif")
    )
    with pytest.raises(OutputError) as caught:
        fail_inside(path, denied)
    assert str(caught.value) == f"{path} could not be written: Permission denied"
    assert caught.value.__cause__ is denied
    assert everything_in(tmp_path) == []


@pytest.mark.parametrize(
    "full", [OSError(errno.ENOSPC, "No space left on device"), OSError("disk: No space left on it")]
)
def test_full_disk_says_what_to_do(tmp_path, full):
    with pytest.raises(OutputError) as caught:
        fail_inside(tmp_path / "a", full)
    assert "no space left on the device. Free some, or name another output" in str(caught.value)
    assert str(tmp_path / "a") in str(caught.value)


def test_parent_that_is_a_file_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    path = tmp_path / "file" / "out.txt"
    with pytest.raises(OutputError, match=r"out\.txt could not be written"):
        write_text(path, "text")
    assert (tmp_path / "file").read_text() == "mine"


def test_file_does_not_replace_a_folder(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "file").write_text("mine")
    with pytest.raises(OutputError, match="folder could not be written"):
        write_text(path, "text")
    assert everything_in(tmp_path) == ["folder", "folder/file"]


def test_folder_does_not_replace_a_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(OutputError, match="file could not be written"), atomic_path(path) as part:
        part.mkdir()
    assert everything_in(tmp_path) == ["file"]
    assert path.read_text() == "mine"


def test_text_is_utf8(tmp_path):
    write_text(tmp_path / "a.txt", "Seelöwe →")
    assert (tmp_path / "a.txt").read_bytes() == "Seelöwe →".encode()


def test_existing_output_is_refused_naming_the_flag(tmp_path):
    with pytest.raises(OutputError, match=r"exists already.*overwrite=True"):
        refuse_existing(tmp_path, overwrite=False)
    refuse_existing(tmp_path, overwrite=True)
    refuse_existing(tmp_path / "new", overwrite=False)


def test_progress_is_silent_where_there_is_no_terminal(capfd):
    with progress_bar("tiles", 3, "Mpx") as bar:
        bar.advance()
        bar.advance(2, note="done")
    assert capfd.readouterr() == ("", "")
