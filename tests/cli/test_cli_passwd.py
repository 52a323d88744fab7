"""`relay passwd`: logins of the users file, whose passwords nobody sees."""

from __future__ import annotations

import stat

import pytest
from click.testing import CliRunner
from test_cli_queue import CONFIG

from relay.cli import main
from relay.logins.users import Credentials, Users


def passwd(*words, text="", code=0):
    done = CliRunner().invoke(main, ["passwd", *map(str, words)], input=text)
    assert done.exit_code == code, done.output
    return done.output


def knows(path, login, password):
    return Users(path).verify(Credentials(login=login, password=password.encode()))


@pytest.mark.slow
def test_login_is_made_changed_and_removed(tmp_path):
    """The first call makes the file, for owner and group alone; other logins and comments stay."""
    path = tmp_path / "users"
    assert "printer is a login" in passwd("--file", path, "printer", text="sécret word\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert knows(path, "printer", "sécret word")
    path.write_text("# the machines\n\n" + path.read_text().rstrip("\n"))
    path.chmod(0o600)
    assert "erp is a login" in passwd("--file", path, "erp", text="other\r\n")
    assert "printer has another password" in passwd("--file", path, "printer", text="third")
    assert knows(path, "printer", "third")
    assert not knows(path, "printer", "sécret word")
    assert knows(path, "erp", "other")
    assert path.read_text().startswith("# the machines\n\nerp:$argon2id$")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "no login of" in passwd("--file", path, "--delete", "printer")
    passwd("--file", path, "--delete", "printer", code=1)
    assert not knows(path, "printer", "third")
    assert [each.name for each in tmp_path.iterdir()] == ["users"]


@pytest.mark.parametrize("login", ["", "a b", "a:b", "#a", "a\nb", "a\udcff"])
def test_login_that_the_file_cannot_hold(tmp_path, login):
    """It would be another login, or a comment."""
    assert "is no login" in passwd("--file", tmp_path / "users", login, text="x", code=2)
    assert not (tmp_path / "users").exists()


@pytest.mark.slow
def test_what_cannot_be_done_is_told(tmp_path):
    """No password, no file named, no folder: a sentence each, and nothing is written."""
    assert "password is empty" in passwd("--file", tmp_path / "users", "ann", text="\n", code=2)
    assert "No such file" in passwd("--file", tmp_path / "none" / "users", "ann", text="x", code=1)
    config = tmp_path / "relay.toml"
    config.write_text(CONFIG.format(data_dir=tmp_path / "data"))
    assert "server.users_file: is missing" in passwd("--config", config, "ann", text="x", code=1)
    config.write_text(f'{config.read_text()}[server]\nusers_file = "{tmp_path}/users"\n')
    (tmp_path / "users").touch()
    assert "ann is a login" in passwd("--config", config, "ann", text="x")
    assert knows(tmp_path / "users", "ann", "x")


@pytest.mark.slow
def test_password_of_any_octets(tmp_path):
    """What a peer sends in AUTH is octets; those of another encoding are a password, too."""
    passwd("--file", tmp_path / "users", "ann", text=b"gr\xfc\xdfe\n")
    assert Users(tmp_path / "users").verify(Credentials(login="ann", password=b"gr\xfc\xdfe"))
