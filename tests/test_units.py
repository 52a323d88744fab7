"""The systemd units: understood by systemd, closed as far as they can be, and true to what the
daemon does.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

from relay.config.builtin import builtin_config

UNITS = Path(__file__).parent.parent / "systemd"
HIGHEST_EXPOSURE = 2.0


def read(name):
    """A unit's text, its installed program replaced by one that is there."""
    return (UNITS / name).read_text().replace("/opt/relay/bin/relay", sys.executable)


def settings(name):
    """The [Service] section; of a key that stands twice, the last."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=["="])
    parser.optionxform = str
    parser.read_string((UNITS / name).read_text())
    return parser["Service"]


@pytest.fixture
def units(tmp_path):
    """The units in a directory of their own, as systemd would find them."""
    for name in ("relay.service", "relay.socket"):
        (tmp_path / name).write_text(read(name))
    return tmp_path


@pytest.mark.needs("systemd-analyze", "systemd")
@pytest.mark.parametrize("name", ["relay.service", "relay.socket"])
def test_unit_is_understood(units, name):
    """Every key of the unit is known to systemd, which finds nothing to say."""
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", f"./{name}"],
        cwd=units,
        capture_output=True,
        text=True,
        check=False,
        env={"SYSTEMD_UNIT_PATH": f"{units}:", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    # Other units of the machine are read too; only what is said of ours counts, and a key that is not known
    # is said and still exits with 0.
    said = [line for line in (result.stdout + result.stderr).splitlines() if "relay" in line]
    assert said == []


@pytest.mark.needs("systemd-analyze", "systemd")
def test_exposure_is_low(units):
    """The rating of systemd itself is at most 2.0."""
    result = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", "./relay.service"],
        cwd=units,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for relay.service: ([\d.]+)", result.stdout)
    assert found, result.stdout + result.stderr
    assert float(found[1]) <= HIGHEST_EXPOSURE


def test_stop_takes_longer_than_the_drain():
    """The patience of systemd at a stop is above what receivers and then the deliverer may take."""
    drain = builtin_config().server.drain_seconds
    assert float(settings("relay.service")["TimeoutStopSec"]) > 2 * (drain + 10)


def test_unit_says_what_the_daemon_does():
    """Readiness and watchdog are told, SIGHUP reads again, and a wrong configuration is not tried again."""
    service = settings("relay.service")
    assert service["Type"] == "notify"
    assert float(service["WatchdogSec"]) > 0
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["RestartPreventExitStatus"] == "2"
    assert service["ExecStart"].split()[1:] == ["serve", "--config", "/etc/relay/relay.toml"]


def test_state_directory_is_the_default_data_dir():
    """The directory that systemd makes is the one that the configuration names by default."""
    from relay.config.model import Config

    default = Config.model_fields["data_dir"].default
    assert str(default) == f"/var/lib/{settings('relay.service')['StateDirectory']}"


def test_limits_leave_room_for_the_sessions():
    """The files that the unit allows are more than the sessions that the configuration allows."""
    assert int(settings("relay.service")["LimitNOFILE"]) > 2 * builtin_config().limits.connections


def test_configuration_is_not_for_everybody():
    """The directory with keys, logins and credentials is closed to others."""
    assert settings("relay.service")["ConfigurationDirectoryMode"] == "0750"


def test_actions_are_pinned_by_commit():
    """A tag of an action can be moved; each step names a commit, and says of which version."""
    used = re.findall(r"uses: *(.+)", (UNITS.parent / ".github" / "workflows" / "ci.yml").read_text())
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", each)] == []


def test_base_image_is_pinned_by_digest():
    """A tag of an image can be moved; both stages name one digest."""
    used = set(re.findall(r"^FROM (\S+)", (UNITS.parent / "Dockerfile").read_text(), re.MULTILINE))
    assert len(used) == 1
    assert re.fullmatch(r"python:3\.13-slim@sha256:[0-9a-f]{64}", used.pop())
