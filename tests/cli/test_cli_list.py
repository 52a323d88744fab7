"""`relay list`: an operator changes a list in a file, and nobody sees half of it."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from relay.check.senders import examine_list_files
from relay.cli import main
from relay.config.builtin import builtin_config
from relay.lists.file import ListFile


@pytest.fixture
def call(tmp_path):
    """Run the command with the list vip, which lies in a file; gives its exit code and lines."""
    path = tmp_path / "relay.toml"
    path.write_text(
        '[s3]\nbucket = "b-1"\n[connect]\ninstance_id = "00000000-0000-0000-0000-000000000001"\n'
        f'[lists.vip]\nfile = "{tmp_path / "vip"}"\n[[routes]]\nmatch = ["a@example.com"]\n'
    )

    def run(word, *words, name="vip"):
        told = CliRunner().invoke(main, ["list", word, "--config", str(path), name, *words])
        return told.exit_code, told.stdout.splitlines(), told.stderr

    return run


def test_file_keeps_its_comments_and_mode(call, tmp_path):
    """Entries come and go in their one form; the rest of the file, its mode and a link to it stay."""
    real = tmp_path / "real"
    real.write_text("# ours\n\njoe@a.example  # the boss\n@b.example")
    real.chmod(0o640)
    (tmp_path / "vip").symlink_to(real)
    assert call("add", "JANE@A.example", ".c.example")[0] == 0
    assert call("add", "jane@a.example")[1] == ["jane@a.example was on the list vip already"]
    assert real.read_text() == "# ours\n\njoe@a.example  # the boss\n@b.example\njane@a.example\n.c.example\n"
    assert call("remove", "Joe@A.example")[:2] == (0, ["joe@a.example is off the list vip now"])
    assert call("remove", "joe@a.example")[0] == 1
    assert real.read_text() == "# ours\n\n@b.example\njane@a.example\n.c.example\n"
    assert (real.stat().st_mode & 0o777, (tmp_path / "vip").is_symlink()) == (0o640, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["real", "relay.toml", "vip"]


def test_show_says_who_is_on_the_list(call):
    """All entries, or those that name an address; 1 when there are none."""
    assert call("add", "@b.example", ".c.example")[0] == 0
    assert call("show")[:2] == (0, ["@b.example", ".c.example"])
    assert call("show", "x@a.c.example")[:2] == (0, [".c.example"])
    assert call("show", "x@d.example")[:2] == (1, [])


def test_a_running_list_sees_the_change_at_once(call, tmp_path):
    """What the command writes counts at the next look, without the wait for a half written file."""
    call("add", "@b.example")
    made = ListFile("vip", tmp_path / "vip")
    made.refresh()
    call("remove", "@b.example")
    call("add", "@c.example")
    made.refresh()
    assert (made.holds("x@b.example"), made.holds("x@c.example")) == (False, True)


@pytest.mark.parametrize(
    ("words", "name", "told"),
    [(["nobody"], "vip", "is no entry"), (["a@b.example"], "none", "there are vip")],
)
def test_mistakes_are_said_in_a_sentence(call, words, name, told):
    """A word that is no entry, and a list that is none, end with 2 and change nothing."""
    code, _, error = call("add", *words, name=name)
    assert code == 2
    assert told in error


def test_check_reads_each_file(tmp_path):
    """`relay check` counts the entries of a list, and names the line that is wrong."""
    for name, text in (("good", "a@b.example\n"), ("empty", ""), ("bad", "a@b.example\nnobody\n")):
        (tmp_path / name).write_text(text)
    files = {name: {"file": str(tmp_path / name)} for name in ("good", "empty", "bad")}
    found = {each.subject: each for each in examine_list_files(builtin_config(lists=files))}
    assert [found[f"list {name}"].level for name in files] == ["ok", "warn", "fail"]
    assert "line 2 is no entry" in found["list bad"].detail
