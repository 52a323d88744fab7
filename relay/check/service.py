"""The examination as the service sees it: by its user, with its environment, its groups and its credentials.

Owns how a command is run in the place of a unit: with setpriv(1), and with copies of the files of
LoadCredential= for as long as it runs. Root reads what the service's user may not (the environment file, the
key); the command itself has no more rights than the service.
"""

from __future__ import annotations

import grp
import os
import pwd
import resource
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from relay.check.finding import Finding, fail, ok, warn
from relay.check.unit import Unit, read_environment

#: systemd.exec(5), "Environment variables in spawned processes".
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
#: Variables of the terminal, which change the look of the findings and nothing else.
_KEPT = ("TERM", "NO_COLOR", "LANG", "LC_ALL", "LC_CTYPE", "SYSTEMD_UNIT_PATH")
_NONE = Path("/nonexistent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The user, the groups and the environment of a unit, as far as this machine has them."""

    unit: Unit
    user: str
    group: str
    environment: Mapping[str, str]
    findings: tuple[Finding, ...]


def find_service(unit: Unit, environ: Mapping[str, str] = os.environ) -> Service | None:
    """The service of a unit, with what is wrong with its user and files. Returns None for a user that this
    machine does not have.
    """
    try:
        person = _find_user(unit.user)
        group = _find_group(unit.group) if unit.group else person.pw_gid
    except KeyError:
        return None
    findings: list[Finding] = []
    variables: dict[str, str] = {}
    for pattern, may_lack in unit.environment_files:
        variables |= _read_variables(pattern, findings, may_lack=may_lack)
    own = {
        "PATH": _PATH,
        "HOME": person.pw_dir,
        "USER": person.pw_name,
        "LOGNAME": person.pw_name,
        "SHELL": person.pw_shell,
    }
    if unit.credentials:
        own["CREDENTIALS_DIRECTORY"] = str(unit.credentials_directory)
    kept = {name: environ[name] for name in _KEPT if name in environ}
    return Service(
        unit=unit,
        user=person.pw_name,
        group=str(group),
        environment=kept | own | unit.environment | variables,
        findings=tuple(findings),
    )


def _find_user(name: str) -> pwd.struct_passwd:
    return pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)


def _find_group(name: str) -> int:
    return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid


def _read_variables(pattern: Path, findings: list[Finding], *, may_lack: bool) -> dict[str, str]:
    """The variables of the files that a path means, which may have the marks of a shell's pattern."""
    found: dict[str, str] = {}
    files = sorted(pattern.parent.glob(pattern.name)) if any(c in pattern.name for c in "*?[") else [pattern]
    for file in files:
        try:
            found |= read_environment(file.read_text("utf-8", "replace"))
        except OSError as exc:
            if not may_lack:
                findings.append(
                    fail(
                        "unit", f"EnvironmentFile={file}: {exc.strerror}; the service does not start without"
                    )
                )
    return found


@contextmanager
def borrowed_environment(service: Service) -> Iterator[None]:
    """A block in which this process has the environment and the credentials of the unit, and root's rights:
    for what is no question of rights on this machine, and writes where root is.
    """
    before = dict(os.environ)
    with lent_credentials(service):
        os.environ.clear()
        os.environ.update(service.environment)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def run_as_service(service: Service, arguments: Sequence[str], own_program: Sequence[str]) -> int:
    """Run the relay of the unit with these arguments, as the service. Returns its exit code.

    Its output goes where ours goes. Without ExecStart= in the unit, `own_program` runs.
    """
    unit = service.unit
    program = list(unit.command[:1]) or list(own_program)
    _raise_files(unit.once.get("LimitNOFILE", ""))
    where = unit.once.get("WorkingDirectory", "/").lstrip("-")
    with lent_credentials(service):
        return subprocess.run(  # noqa: S603 - root's own unit says which program
            [*_step_down(service), *program, *arguments],
            env=dict(service.environment),
            cwd=where if Path(where).is_dir() else "/",
            check=False,
        ).returncode


def _step_down(service: Service) -> list[str]:
    """The command that gives up root's rights as systemd does: user, groups, and all capabilities but one."""
    if service.user == "root":
        return []
    more = service.unit.groups
    # setpriv takes either the groups of the user database, or a list of its own
    groups = ["--groups", ",".join([*_groups_of(service), *more])] if more else ["--init-groups"]
    kept = "-all,+net_bind_service" if service.unit.may_bind else "-all"
    return [
        "setpriv", "--reuid", service.user, "--regid", service.group, *groups, "--no-new-privs",
        "--inh-caps", kept, "--ambient-caps", kept, "--bounding-set", kept, "--",
    ]  # fmt: skip


def _groups_of(service: Service) -> list[str]:
    return [str(each) for each in os.getgrouplist(service.user, int(service.group))]


def _raise_files(limit: str) -> None:
    """Set the number of open files to the unit's (LimitNOFILE=, one number or two)."""
    soft, _, hard = limit.partition(":")
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(soft), int(hard or soft)))


def examine_program(service: Service) -> Iterator[Finding]:
    """Examine whether the program of the unit is there, and setpriv to give up root's rights."""
    command = service.unit.command
    if command and not os.access(command[0], os.X_OK):
        yield fail(
            "unit", f"ExecStart={command[0]}: no such program; install the relay there, or mend the unit"
        )
    elif service.user != "root" and shutil.which("setpriv") is None:
        yield warn("unit", "setpriv is not here, so all is examined as root; install util-linux")
    else:
        yield ok("unit", f"examined as {service.user}, with the environment of {service.unit.path}")


@contextmanager
def lent_credentials(service: Service) -> Iterator[None]:
    """A block in which the credentials of the unit lie where the service finds them.

    While the service runs, its own are there and stay. Otherwise the files are copied for its user alone, and
    removed at the end; a service that starts meanwhile has a file system of its own over them.
    """
    unit = service.unit
    folder = unit.credentials_directory
    if not unit.credentials or folder.exists():
        yield
        return
    made_parent = not folder.parent.exists()
    folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    owner = _find_user(service.user).pw_uid
    names: list[str] = []
    try:
        for name, source in _list_files(unit):
            with suppress(OSError):  # systemd starts no service without: the examination of files tells
                octets = source.read_bytes()
                file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400, dir_fd=handle)
                names.append(name)
                with os.fdopen(file, "wb") as out:
                    os.fchown(file, owner, -1)
                    out.write(octets)
        os.fchown(handle, owner, -1)
        yield
    finally:
        for name in names:
            os.unlink(name, dir_fd=handle)
        os.close(handle)
        with suppress(OSError):
            folder.rmdir()
            if made_parent:
                folder.parent.rmdir()


def _list_files(unit: Unit) -> Iterator[tuple[str, Path]]:
    """The credentials with their files; of a folder each file is one, its name behind the folder's."""
    for name, source in unit.credentials:
        if source.is_dir():
            yield from ((f"{name}_{file.name}", file) for file in sorted(source.iterdir()) if file.is_file())
        else:
            yield name, source
