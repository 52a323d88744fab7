"""Files with secrets: whether other users of this machine can read or change them.

Owns that examination, and which files it is about. Reads none of them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from relay.check.finding import Finding, warn
from relay.config import Config
from relay.config.data_dir import ADDRESS_KEY

#: The unit's EnvironmentFile=, with the keys of AWS where no role is attached.
ENVIRONMENT_FILE = Path("/etc/relay/environment")


def examine_secrets(config: Config, *, environment_file: Path = ENVIRONMENT_FILE) -> Iterator[Finding]:
    """Give a warning for each file with a secret that others can read or write; none for a file that is
    missing.
    """
    files = (
        ("certificate", "tls.key", config.tls.key),
        *(("certificate", f"tls.more[{at}].key", pair.key) for at, pair in enumerate(config.tls.more)),
        ("logins", "server.users_file", config.server.users_file),
        ("page", "web.users_file", config.web.users_file),
        ("spool", "the key of hashed addresses", config.data_dir / ADDRESS_KEY),
        ("environment", "the environment file", environment_file),
        ("credentials", "AWS_SHARED_CREDENTIALS_FILE", os.environ.get("AWS_SHARED_CREDENTIALS_FILE")),
    )
    for subject, name, path in files:
        if path and (mode := _open_mode(Path(path))):
            verb = "read" if mode & stat.S_IROTH else "change"
            yield warn(
                subject,
                f"{name}, {path}, has mode {mode:04o}, so every user of this machine can {verb} it; run chmod o= {path}",
            )


def _open_mode(path: Path) -> int:
    """The mode of a file that others may read or write; 0 for any other, and for a missing one."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return 0
    if not stat.S_ISREG(found.st_mode):
        return 0  # /dev/null, which stands for none
    mode = stat.S_IMODE(found.st_mode)
    return mode if mode & (stat.S_IROTH | stat.S_IWOTH) else 0
