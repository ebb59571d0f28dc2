"""For root only: the user that PostgreSQL runs as, since it refuses to run as root."""

import os
import pwd
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

NAME = "peak-atlas"

# Linux keeps a folder's access list as a version and sorted (kind, permissions, user) entries.
ACCESS_LIST = "system.posix_acl_access"
VERSION, ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
OWNER, USER, GROUP, MASK, OTHERS = 1, 2, 4, 16, 32
NOBODY_IN_PARTICULAR = 0xFFFFFFFF
ENTER = 1


def system_user() -> pwd.struct_passwd:
    """Return the user, made when missing; raise OSError or CalledProcessError if it cannot be."""
    with suppress(KeyError):
        return pwd.getpwnam(NAME)
    options = ["--system", "--shell", "/usr/sbin/nologin"]
    subprocess.run(["useradd", *options, NAME], check=True, capture_output=True)
    return pwd.getpwnam(NAME)


def let_pass(uid: int, gid: int, path: Path) -> None:
    """Let one user, and nobody else, enter every folder that leads to `path`, and `path` itself.

    The folders stay as closed to all others as they are, and their content is not listed to that
    user either. Raises OSError where the file system keeps no access lists.
    """
    for folder in (*reversed(path.parents), path):
        enter = subprocess.run(
            ["test", "-x", str(folder)], check=False, cwd="/", user=uid, group=gid, extra_groups=[]
        )
        if enter.returncode:
            _allow_to_enter(folder, uid)


def _allow_to_enter(folder: Path, uid: int) -> None:
    entries = _access_list(folder)
    entries[USER, uid] = entries.get((USER, uid), 0) | ENTER
    mask = entries.get((MASK, NOBODY_IN_PARTICULAR), entries[GROUP, NOBODY_IN_PARTICULAR])
    entries[MASK, NOBODY_IN_PARTICULAR] = mask | ENTER
    packed = (ENTRY.pack(kind, allowed, who) for (kind, who), allowed in sorted(entries.items()))
    os.setxattr(folder, ACCESS_LIST, VERSION.pack(2) + b"".join(packed))


def _access_list(folder: Path) -> dict[tuple[int, int], int]:
    """Return the permissions by (kind, user), from the folder's mode when it has no list."""
    if ACCESS_LIST in os.listxattr(folder):
        stored = os.getxattr(folder, ACCESS_LIST)[VERSION.size :]
        return {(kind, who): allowed for kind, allowed, who in ENTRY.iter_unpack(stored)}
    mode = folder.stat().st_mode
    shifts = {OWNER: 6, GROUP: 3, OTHERS: 0}
    return {(kind, NOBODY_IN_PARTICULAR): mode >> by & 0o7 for kind, by in shifts.items()}
