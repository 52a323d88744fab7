"""Files that a configuration includes: what they may hold, whose mistake it is, and what stays in force."""

from __future__ import annotations

import os

import pytest

from relay.check.finding import Level
from relay.check.rules import examine_included
from relay.config.included import load_remembered, remember
from relay.config.load import load_all, load_config
from relay.errors import ConfigError

INSTANCE = "00000000-0000-0000-0000-000000000000"
OTHER = "11111111-0000-0000-0000-000000000000"


def route(address, more=""):
    """A route for one address."""
    return f'[[routes]]\nmatch = ["{address}"]\n{more}\n'


@pytest.fixture
def house(tmp_path):
    """A folder with a main file that includes routes.d/*.toml; call it with the texts of files by name."""
    (tmp_path / "routes.d").mkdir()
    (tmp_path / "data").mkdir()
    main = tmp_path / "relay.toml"
    main.write_text(
        f'include = ["routes.d/*.toml"]\nhostname = "mx.test"\ndata_dir = "{tmp_path}/data"\n'
        f'[s3]\nbucket = "example-mail"\n[connect]\ninstance_id = "{INSTANCE}"\n'
        + route("support@example.com")
    )

    def write(**files):
        for name, text in files.items():
            (tmp_path / "routes.d" / f"{name}.toml").write_text(text)
        return str(main)

    write.folder = tmp_path / "routes.d"
    write.main = main
    return write


def mistakes(path, **more):
    """The sentences that refuse a configuration."""
    with pytest.raises(ConfigError) as caught:
        load_all(path, environ={}, **more)
    return caught.value.sentences


def matches(config):
    """The addresses of all routes in their order."""
    return [each.match[0] for each in config.routes]


def test_routes_stand_behind_those_of_the_main_file_by_name(house):
    """The main file's routes come first, then those of each file in the order of the names; hidden files,
    other files and a second name of the same file bring none.
    """
    path = house(b=route("b@example.com"), a=route("a@example.com") + route("aa@example.com"))
    (house.folder / ".c.toml").write_text("no TOML")
    (house.folder / "c.toml~").write_text("no TOML")
    (house.folder / "d.toml").symlink_to(house.folder / "b.toml")
    config = load_config(path, environ={})
    assert matches(config) == ["support@example.com", "a@example.com", "aa@example.com", "b@example.com"]
    assert type(config).model_validate(config.pack()) == config


def test_lists_and_instances_may_stand_in_a_file(house, tmp_path):
    """A file brings its own lists and instances along."""
    path = house(
        a=f'[lists.vip]\nfile = "{tmp_path}/vip"\n[connect.instances."{OTHER}"]\nregion = "eu-west-1"\n'
    )
    config = load_config(path, environ={})
    assert set(config.lists) == {"vip"}
    assert config.connect.instances[OTHER].region == "eu-west-1"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[[routes]]\nmatch = "x"\n', '{a}: routes[0].match = "x": must be a list, as in ["..."]'),
        ("[[routes]]\nmatch = ['a@b.example']\npriorty = 1\n", "{a}: routes[0].priorty = 1: no such key"),
        ("[[routes]\n", "{a}, line 1, column 9: Expected ']]' at the end of an array declaration"),
        (
            '[s3]\nbucket = "x"\n',
            "{a}: s3: has no place here; an included file holds [[routes]], [lists.NAME] and [connect.instances.ID] alone; write it in {main}",
        ),
        ('[connect]\ninstance_id = "x"\n', "{a}: connect.instance_id: has no place here"),
        ('include = ["more.toml"]\n', "{a}: include: has no place here"),
        (
            route("support@example.com"),
            '{a}: routes[0].match has "support@example.com", which routes[0] of {main} takes already; remove one',
        ),
        (
            route("a@example.com") + route("z@example.com", 'lists = { vip = "reject" }'),
            '{a}: routes[1]: names the list "vip", which is none; give it a place, as in [lists.vip]',
        ),
        (
            f'[connect.instances."{OTHER}"]\nrequests_per_second = 9\n',
            f'{{a}}: connect.instances."{OTHER}": 9 requests a second',
        ),
    ],
)
def test_mistake_names_its_file(house, text, sentence):
    """Each sentence about an included file begins with its path, and counts routes as they stand there."""
    path = house(a=text)
    said, *_ = mistakes(path)
    assert said.startswith(sentence.format(a=house.folder / "a.toml", main=path))


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (route("x@example.com"), route("x@example.com"), ["routes[0].match", "routes[0] of"]),
        (
            route("x@example.com", 'name = "n"'),
            route("y@example.com", 'name = "n"'),
            ["routes[0].name", "of"],
        ),
        ('[lists.vip]\nfile = "/a"\n', '[lists.vip]\nfile = "/b"\n', ["lists.vip"]),
        (
            f'[connect.instances."{OTHER}"]\n',
            f'[connect.instances."arn:aws:connect:eu-west-1:123456789012:instance/{OTHER}"]\n',
            ["connect.instances"],
        ),
    ],
)
def test_name_of_two_files_names_both(house, first, second, words):
    """A match, a name, a list or an instance that two files have is told with the paths of both."""
    path = house(a=first, b=second)
    (said,) = mistakes(path)
    assert said.startswith(f"{house.folder / 'b.toml'}: ")
    assert all(word in said for word in [*words, str(house.folder / "a.toml")])


def test_broken_file_stays_at_its_last_good_version(house):
    """A reload takes the new version of each right file, keeps the last good one of a broken file, leaves out
    a broken file that is new, and forgets a file that is gone.
    """
    path = house(a=route("a@example.com"), b=route("b@example.com"), gone=route("gone@example.com"))
    texts = load_all(path, environ={}).texts
    (house.folder / "gone.toml").unlink()
    house(a=route("a2@example.com"), b="[[routes]]\nmatch = 3\n", c="x", d=route("d@example.com"))
    loaded = load_all(path, environ={}, remembered=texts)
    assert matches(loaded.config) == [
        "support@example.com",
        "a2@example.com",
        "b@example.com",
        "d@example.com",
    ]
    b, c = loaded.kept
    assert b.startswith(f"{house.folder / 'b.toml'}: routes[0].match = 3: ")
    assert b.endswith("(its last good version stays in force)")
    assert c.startswith(f"{house.folder / 'c.toml'}, line 1")
    assert c.endswith("(it is left out)")
    assert loaded.texts == {
        str(house.folder / "a.toml"): route("a2@example.com"),
        str(house.folder / "b.toml"): route("b@example.com"),
        str(house.folder / "d.toml"): route("d@example.com"),
    }


def test_conflict_keeps_the_files_that_are_in_it_alone(house):
    """Of two new versions that take one address the first by name goes in; a third file is no part of it."""
    path = house(a=route("a@example.com"), b=route("b@example.com"), c=route("c@example.com"))
    texts = load_all(path, environ={}).texts
    house(a=route("x@example.com"), b=route("x@example.com"), c=route("c2@example.com"))
    loaded = load_all(path, environ={}, remembered=texts)
    assert matches(loaded.config)[1:] == ["x@example.com", "b@example.com", "c2@example.com"]
    assert len(loaded.kept) == 1


def test_address_that_moves_between_files_is_no_conflict(house):
    """An address may go from a later file to an earlier one in one reload, also beside a broken file."""
    path = house(
        a=route("a@example.com"), b=route("b@example.com") + route("m@example.com"), c=route("c@example.com")
    )
    texts = load_all(path, environ={}).texts
    house(a=route("a@example.com") + route("m@example.com"), b=route("b@example.com"), c="broken")
    loaded = load_all(path, environ={}, remembered=texts)
    assert matches(loaded.config)[1:] == ["a@example.com", "m@example.com", "b@example.com", "c@example.com"]


def test_mistake_of_the_main_file_refuses_everything(house):
    """Where the main file is wrong, no version of an included file is taken in its place."""
    path = house(a=route("a@example.com"))
    texts = load_all(path, environ={}).texts
    house.main.write_text(house.main.read_text() + 'hostnam = "x"\n')
    house(a="broken")
    said = mistakes(path, remembered=texts)
    assert any("hostnam" in sentence for sentence in said)


def test_folder_that_cannot_be_listed_is_no_empty_one(house, tmp_path):
    """A folder that is missing is told, so that its routes are not taken for removed."""
    path = house(a=route("a@example.com"))
    house.folder.rename(tmp_path / "elsewhere")
    (said,) = mistakes(path, remembered={})
    assert said == (
        f'include[0] = "routes.d/*.toml": {house.folder} cannot be read (No such file or directory); give a folder '
        "that relay's user may read"
    )


def test_what_is_no_file_is_told_and_keeps_nobody_waiting(house):
    """A pipe, a folder, a link to nothing and a huge file are mistakes of their own."""
    path = house()
    os.mkfifo(house.folder / "a.toml")
    (house.folder / "b.toml").mkdir()
    (house.folder / "c.toml").symlink_to("nowhere")
    (house.folder / "d.toml").write_text("#" * 1_048_577)
    said = mistakes(path)
    assert [sentence.partition(": ")[2].split(";")[0] for sentence in said] == [
        "is no file",
        "cannot be read (Is a directory)",
        "cannot be read (No such file or directory)",
        "is over 1048576 octets",
    ]


def test_file_without_wildcard_is_owed(house):
    """A file that is named by its whole name must be there."""
    house.main.write_text(house.main.read_text().replace("routes.d/*.toml", "routes.d/bank.toml"))
    (said,) = mistakes(house())
    assert said.startswith(f"{house.folder / 'bank.toml'}: cannot be read")


def test_last_good_versions_outlive_the_daemon(house, tmp_path):
    """A start finds them in data_dir, and so does `relay check`, which fails with the name of the file."""
    path = house(a=route("a@example.com"))
    loaded = load_all(path, environ={})
    assert [each.level for each in examine_included(loaded)] == [Level.OK]
    assert remember(tmp_path / "data", loaded.texts)
    assert (tmp_path / "data" / "included.json").stat().st_mode & 0o777 == 0o600
    house(a=f'[lists.vip]\nfile = "{tmp_path}/nowhere"\n' + route("new@example.com"))
    again = load_all(path, environ={}, checked=True)
    assert matches(again.config) == ["support@example.com", "a@example.com"]
    (finding,) = examine_included(again)
    assert finding.level is Level.FAIL
    assert finding.detail.startswith(f"{house.folder / 'a.toml'}: lists.vip.file")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}'])
def test_memory_that_is_none_is_empty(tmp_path, text):
    """Whatever stands in data_dir/included.json, reading it never fails."""
    (tmp_path / "included.json").write_text(text)
    assert load_remembered(tmp_path) == {}
