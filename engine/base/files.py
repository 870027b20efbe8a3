"""Files that matter are written aside, then renamed: a reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.base.errors import StorageError

_CHUNK_BYTES = 1 << 20
# Below this much free space a writer that cannot say why it failed is taken to have run out of it.
_FULL_BELOW_BYTES = 1 << 20
_NAME_BYTES = 80
_RESERVED_ON_WINDOWS = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(10))}
_NO_SPACE = "There is no space left in {folder}: free some, or choose a folder on another disk."
_NO_PERMISSION = "{folder} cannot be written: check its permissions, or choose another folder."
_WRITE_REMEDIES = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: "The file is too large for {folder}: choose a folder on another disk.",
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EROFS: "{folder} is on a read-only disk: choose another folder.",
    errno.EIO: "The disk that holds {folder} reports errors: choose a folder on another disk.",
    errno.ENOTDIR: "{folder} is not a folder, or lies below a file: choose another folder.",
    errno.EEXIST: "{folder} is not a folder, or lies below a file: choose another folder.",
    errno.EISDIR: "A folder stands in {folder} where a file should be written: choose another name.",
    errno.ENAMETOOLONG: "The name of a file in {folder} is too long: choose a shorter one.",
}


def expanded(path: str | Path) -> Path:
    """Return a path whose leading ``~`` has become a home folder; one that stands for nobody's stays as written.

    ``Path.expanduser`` raises RuntimeError there, for a text that is only the name of nothing.
    """
    return Path(os.path.expanduser(path))


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; when the block ends without an error it becomes ``path``.

    Missing folders are made. The temporary path keeps the suffix, because some writers choose the format by it. On
    any exception, a stop included, the temporary file is removed and ``path`` is what it was before.

    Raises:
        StorageError: the folder cannot be written, or has no space left.
    """
    path = Path(path)
    aside = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        with writing_to(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield aside
            _flush_to_disk(aside)
            os.replace(aside, path)
            _flush_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


@contextlib.contextmanager
def writing_to(folder: str | Path) -> Iterator[None]:
    """Turn an operating system's refusal to write inside the block into one sentence that names ``folder``.

    Raises:
        StorageError: instead of the OSError. Errors that say nothing about the disk pass through unchanged.
    """
    try:
        yield
    except OSError as error:
        remedy = _WRITE_REMEDIES.get(error.errno or 0)
        if remedy is None or not _concerns(error, Path(folder)):
            raise
        raise StorageError(remedy.format(folder=Path(folder).absolute())) from error
    except RuntimeError as error:
        # torch.save reports a full disk as a bare RuntimeError.
        if not _is_full(Path(folder)):
            raise
        raise StorageError(_NO_SPACE.format(folder=Path(folder).absolute())) from error


def write_text_atomic(path: str | Path, text: str) -> Path:
    """Write ``text`` as UTF-8 to ``path``, all of it or nothing, and return the path."""
    with atomic_path(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")
    return Path(path)


def copy_file_atomic(source: str | Path, path: str | Path) -> Path:
    """Copy the file ``source`` to ``path``, all of it or nothing, and return the path."""
    require_file(source)
    require_free_space(Path(path).parent, Path(source).stat().st_size)
    with atomic_path(path) as aside:
        shutil.copyfile(source, aside)
    return Path(path)


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of the file as 64 hexadecimal digits."""
    require_file(path)
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def require_file(path: str | Path) -> None:
    """Raise StorageError unless ``path`` is a file that may be read."""
    path = Path(path)
    if not path.is_file():
        raise StorageError(f"There is no file {path}: check the path.")
    if not os.access(path, os.R_OK):
        raise StorageError(f"{path} cannot be read: check its permissions.")


def require_free_space(folder: str | Path, bytes_needed: int) -> None:
    """Raise StorageError unless the disk that holds ``folder``, which need not exist yet, has ``bytes_needed`` free."""
    free_bytes = _free_bytes(Path(folder))
    if free_bytes < bytes_needed:
        raise StorageError(
            f"{Path(folder).absolute()} has {_readable(free_bytes)} free and {_readable(bytes_needed)} are needed: "
            "free some space, or choose a folder on another disk."
        )


def safe_name(text: str) -> str:
    """Return a file stem made from a person's words: letters and digits of any script, ``-`` and ``_``.

    At most 80 bytes; never empty, hidden, a path, or a device name of Windows. A safe name is left as it is.
    """
    words = re.sub(r"[^\w]+", "-", unicodedata.normalize("NFKC", text))
    stem = words.encode("utf-8", "ignore")[:_NAME_BYTES].decode("utf-8", "ignore").strip("-_")
    if stem.upper() in _RESERVED_ON_WINDOWS:
        return f"{stem}-file"
    return stem or "unnamed"


def _flush_to_disk(path: Path) -> None:
    with open(path, "rb+") as stream:
        os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the rename itself survive a power failure, where the system lets a folder be flushed."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network and virtual file systems refuse; the data itself has been flushed already.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _concerns(error: OSError, folder: Path) -> bool:
    """Whether the error is about ``folder``, as far as it tells: a file read from elsewhere is not."""
    named = [Path(name).absolute() for name in (error.filename, error.filename2) if isinstance(name, str)]
    return not named or any(
        folder.absolute() in (path, *path.parents) or path in folder.absolute().parents for path in named
    )


def _is_full(folder: Path) -> bool:
    return _free_bytes(folder) < _FULL_BELOW_BYTES


def _free_bytes(folder: Path) -> int:
    folder = folder.absolute()
    existing = next((place for place in (folder, *folder.parents) if place.exists()), Path(folder.anchor))
    return shutil.disk_usage(existing).free


def _readable(number_of_bytes: int) -> str:
    return f"{number_of_bytes / 1e9:.1f} GB" if number_of_bytes >= 1e9 else f"{number_of_bytes / 1e6:.1f} MB"


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Return the files' names, each with as few folders before it as tell all of them apart."""
    parts = [Path(path).absolute().parts for path in paths]
    different = len(set(parts))
    for length in range(1, max(map(len, parts), default=0) + 1):
        names = [str(Path(*each[-length:])) for each in parts]
        if len(set(names)) == different:
            return names
    return [str(path) for path in paths]
