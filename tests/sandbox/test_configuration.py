"""The daemon's configuration in the sandbox: written down so that the daemon reads the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.builtin import BUCKET
from relay.config.load import load_config
from relay.errors import ConfigError
from relay.sandbox.configuration import sandbox_config, write_config


def test_what_is_written_is_what_is_read(tmp_path):
    """A configuration survives its file."""
    config = sandbox_config(smtp="127.0.0.1:2525", data_dir=tmp_path / "data", admin="")
    write_config(config, tmp_path / "relay.toml")
    assert load_config(str(tmp_path / "relay.toml"), environ={}) == config
    assert (config.listeners[0].bind, config.listeners[0].tls) == (("127.0.0.1:2525",), "none")
    assert (config.s3.bucket, config.admin.bind) == (BUCKET, ())


def test_one_address_may_send_as_much_as_a_test_wants(tmp_path):
    """Limits for one peer do not stand in the way of a load from this machine; an own limit still counts."""
    config = sandbox_config(smtp="127.0.0.1:2525", data_dir=tmp_path, limits={"connections_per_address": 3})
    assert (config.limits.connections_per_address, config.limits.messages_per_minute) == (3, 1_000_000)


def test_somebodys_own_configuration_keeps_its_routes(tmp_path):
    """Only where mail comes in and where it lies is the sandbox's to say."""
    own = tmp_path / "own.toml"
    own.write_text(
        'data_dir = "/var/lib/relay"\n[s3]\nbucket = "my-bucket"\n[connect]\ninstance_id = "12345678-90ab-cdef-1234-567890abcdef"\nburst = 7\n'
        '[web]\nbind = "0.0.0.0:8028"\nauth = "proxy"\nproxies = ["10.0.0.4/32"]\n[[listeners]]\nbind = "0.0.0.0:25"\n[[routes]]\nmatch = ["desk@shop.example"]\nattributes = { a = "b" }\n'
    )
    config = sandbox_config(smtp="127.0.0.1:2525", data_dir=tmp_path / "d", config_path=str(own))
    assert (config.s3.bucket, config.connect.instance_id, config.connect.burst) == (
        "my-bucket",
        "12345678-90ab-cdef-1234-567890abcdef",
        7,
    )
    assert config.routes[0].match == ("desk@shop.example",)
    assert [listener.bind for listener in config.listeners] == [("127.0.0.1:2525",)]
    assert config.data_dir == tmp_path / "d"
    assert config.web.bind == (), "the page is the sandbox's"
    assert config.limits.messages_per_minute == 600
    write_config(config, tmp_path / "relay.toml")
    assert load_config(str(tmp_path / "relay.toml"), environ={}) == config


def test_a_file_that_is_not_there_is_a_sentence(tmp_path):
    """As with every other command."""
    with pytest.raises(ConfigError):
        sandbox_config(smtp="127.0.0.1:2525", data_dir=tmp_path, config_path=str(tmp_path / "none.toml"))


@given(value=st.text(st.characters(exclude_categories=("Cs",)), max_size=30))
def test_any_text_survives_the_file(tmp_path_factory, value):
    """Quotes, controls, and characters beyond the sixteen bits: TOML reads what we wrote."""
    path = Path(tmp_path_factory.getbasetemp()) / "any.toml"
    template = value.replace("{", "{{").replace("}", "}}")
    capture = {"from": "header:X-A", "pattern": "(?P<found>.)"}
    routes = [{"match": ["a@example.com"], "attributes": {"key": template}, "captures": [capture]}]
    config = sandbox_config(smtp="127.0.0.1:2525", data_dir=Path("/data"), routes=routes)
    write_config(config, path)
    assert load_config(str(path), environ={}).routes[0] == config.routes[0]
