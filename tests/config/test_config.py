"""The configuration: its file, its environment, its mistakes, and the sample that documents it."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from relay.config.builtin import builtin_config
from relay.config.connect import UNKNOWN_HOME
from relay.config.contact import Contact, captured_names, unknown_fields
from relay.config.environment import lay_over
from relay.config.keys import all_keys, names_at, type_at
from relay.config.load import check_files, find_config, load_config, make_data_dir
from relay.config.model import Config
from relay.config.sentences import show
from relay.errors import ConfigError
from relay.routes import RouteTable

HERE = Path(__file__).parent
SAMPLE = HERE.parent.parent / "config" / "relay.toml"
BAD = sorted((HERE / "bad").glob("*.toml"))
INSTANCE = "00000000-0000-0000-0000-000000000000"
REQUIRED = {
    "s3": {"bucket": "example-mail"},
    "connect": {"instance_id": INSTANCE},
    "routes": [{"match": ["support@example.com"]}],
}


def write_pem(path, key, password=None):
    """A private key as the file of an operator."""
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, lock)
    )


@pytest.fixture(scope="session")
def pems(tmp_path_factory):
    """A directory with a certificate, its key, another key, a locked key, and a file that is none
    of these.
    """
    folder = tmp_path_factory.mktemp("pems")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mx1.example.com")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    write_pem(folder / "key.pem", key)
    write_pem(folder / "other-key.pem", ec.generate_private_key(ec.SECP256R1()))
    write_pem(folder / "locked-key.pem", key, b"secret")
    (folder / "good-users").write_text("scanner:$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA\n")
    (folder / "words.pem").write_text("no certificate here\n")
    (folder / "users").write_text(
        "# scanners\nscanner:$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA\n\nprinter:secret\n"
    )
    (folder / "marked-users").write_bytes(b"\xef\xbb\xbf" + (folder / "good-users").read_bytes())
    (folder / "marked-cert.pem").write_bytes(b"\xef\xbb\xbf" + (folder / "cert.pem").read_bytes())
    (folder / "half.pem").write_bytes((folder / "cert.pem").read_bytes()[:200])
    return folder


def sentences_of(path, environ=None):
    """What `relay serve` would say before it opens anything."""
    try:
        return check_files(load_config(str(path), environ=environ or {}))
    except ConfigError as exc:
        return exc.sentences


@pytest.fixture
def write(tmp_path):
    """A function that writes a configuration file and gives its path."""

    def write(text):
        path = tmp_path / "relay.toml"
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def minimal(write):
    """The least that a file must say."""
    return write(
        f'[s3]\nbucket = "example-mail"\n[connect]\ninstance_id = "{INSTANCE}"\n'
        '[[routes]]\nmatch = ["support@example.com"]\n'
    )


# --- The mistakes


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_mistake_is_said_in_its_sentence(path, pems, tmp_path):
    """Each wrong file is refused with exactly the sentences beside it, which name the key and what
    is right.
    """
    folder = str(pems)
    used = tmp_path / "relay.toml"
    used.write_text(path.read_text().replace("@DIR@", folder))
    expected = path.with_suffix(".expected").read_text().splitlines()
    said = [each.replace(folder, "@DIR@").replace(str(used), "relay.toml") for each in sentences_of(used)]
    assert said == expected


def test_there_are_enough_mistakes():
    """The directory of mistakes was found, and each has its sentence."""
    assert len(BAD) >= 20
    assert all(path.with_suffix(".expected").read_text().strip() for path in BAD)


def test_missing_file_is_said(tmp_path):
    """A file that is not there is named, with the ways to name another."""
    (sentence,) = sentences_of(tmp_path / "nowhere.toml")
    assert sentence.startswith(f"{tmp_path}/nowhere.toml: there is no such file; name one by --config")


def test_directory_for_a_file_is_said(tmp_path):
    """What cannot be read is named with the system's reason."""
    (sentence,) = sentences_of(tmp_path)
    assert sentence.startswith(f"{tmp_path}: cannot be read (Is a directory)")


def test_file_in_another_charset_is_said(tmp_path):
    """A file in Latin-1 is refused with the place of the first octet that is no UTF-8."""
    path = tmp_path / "relay.toml"
    path.write_bytes(b'# caf\xe9\nhostname = "mx1.example.com"\n')
    assert sentences_of(path) == (f"{path}: byte 5 is not UTF-8; TOML is written in UTF-8",)


def test_file_with_a_byte_order_mark_is_said(minimal):
    """An editor of Windows puts a mark in front, which is no TOML: the sentence says so."""
    path = Path(minimal)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert sentences_of(path) == (
        f"{path}: begins with a byte order mark (BOM); save it as UTF-8 without one",
    )


def test_unreachable_data_dir_is_said(minimal):
    """A data_dir that cannot even be looked for is named with the reason."""
    path = "/" + "x" * 300
    (sentence,) = sentences_of(minimal, {"RELAY_DATA_DIR": path})
    assert sentence.startswith('data_dir = "/xxx')
    assert sentence.endswith(
        "cannot be reached (File name too long); name a directory that the user relay runs as can get at"
    )


def test_unwritable_data_dir_is_said(minimal, monkeypatch, tmp_path):
    """A data_dir that we may not write to, or may not make, is named with what to do."""
    monkeypatch.setattr("os.access", lambda path, mode: False)
    here, missing = tmp_path, tmp_path / "spool"
    right = "make it and give it to the user relay runs as"
    assert sentences_of(minimal, {"RELAY_DATA_DIR": str(here)}) == (
        f"data_dir = {show(str(here))}: is not writable; {right}",
    )
    assert sentences_of(minimal, {"RELAY_DATA_DIR": str(missing)}) == (
        f"data_dir = {show(str(missing))}: does not exist, and {here} is not writable; {right}",
    )


def test_own_name_that_is_no_host_name_is_said(minimal, monkeypatch):
    """A machine whose own name cannot stand in a banner is told to write one."""
    monkeypatch.setattr(socket, "getfqdn", lambda: "my_laptop")
    (sentence,) = sentences_of(minimal)
    assert sentence.startswith('hostname: this machine calls itself "my_laptop", which is no host name')


def test_every_sentence_is_one_line(pems):
    """A value with line breaks does not break the sentence it stands in."""
    with pytest.raises(ConfigError) as caught:
        load_config(str(SAMPLE), environ={"RELAY_HOSTNAME": "a\nb", "RELAY_S3__PREFIX": "x" * 500})
    assert len(caught.value.sentences) == 2
    assert all("\n" not in each and len(each) < 250 for each in caught.value.sentences)


# --- What is right


def test_pair_and_users_that_are_there_are_fine(minimal, pems, tmp_path):
    """Files that can be used are not spoken of, and a data_dir that we may make is none."""
    environ = {
        "RELAY_TLS__CERTIFICATE": str(pems / "cert.pem"),
        "RELAY_TLS__KEY": str(pems / "key.pem"),
        "RELAY_TLS__CLIENT_CA": str(pems / "cert.pem"),
        "RELAY_SERVER__USERS_FILE": str(pems / "good-users"),
        "RELAY_DATA_DIR": str(tmp_path / "new" / "spool"),
    }
    assert sentences_of(minimal, environ) == ()


def test_minimal_file_gives_the_defaults(minimal, monkeypatch):
    """Everything but the bucket, the instance and a route has a default; the host name is the
    machine's own.
    """
    monkeypatch.setattr(socket, "getfqdn", lambda: "mx7.example.net")
    config = load_config(minimal, environ={})
    assert config == Config.model_validate({**REQUIRED, "hostname": "mx7.example.net"})


def test_route_is_named_for_its_first_match(minimal):
    """A route without a name is called by its first match."""
    assert load_config(minimal, environ={}).routes[0].name == "support@example.com"


@pytest.mark.parametrize(
    "match",
    ["käse@münchen.example", "a%b@example.com", "o'neil@example.com", "x" * 60 + "@" + "y" * 60 + ".example"],
)
def test_configuration_reaches_another_process_as_it_is(match):
    """Packed and read again, as a receiver does, it is the same: odd matches, and limits that nobody wrote
    down.
    """
    for limits in ({}, {"connections_per_address": 50}):
        config = builtin_config(routes=[{"match": [match, "b@example.com"]}], limits=limits)
        again = Config.model_validate(json.loads(json.dumps(config.pack())))
        assert again == config
        assert again.routes[0].name == match
        assert again.limits.model_fields_set == set(limits)


def test_name_of_a_route_has_its_rules():
    """A name that is not the first match is of letters that a command line and a metric take as they are."""
    with pytest.raises(ValueError, match="is no name of a route"):
        builtin_config(routes=[{"match": ["a@example.com"], "name": "käse"}])


def test_find_config_asks_in_order():
    """--config goes before $RELAY_CONFIG, and that before /etc."""
    environ = {"RELAY_CONFIG": "/srv/relay.toml"}
    assert find_config("/tmp/r.toml", environ) == "/tmp/r.toml"
    assert find_config(None, environ) == "/srv/relay.toml"
    assert find_config(None, {}) == "/etc/relay/relay.toml"


# --- The environment


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("RELAY_S3__BUCKET", "123", lambda config: config.s3.bucket == "123"),
        ("RELAY_S3__PREFIX", "", lambda config: config.s3.prefix == ""),
        ("RELAY_HOSTNAME", "mx2.example.com", lambda config: config.hostname == "mx2.example.com"),
        ("RELAY_LISTENERS__0__BIND", "[::]:25", lambda config: config.listeners[0].bind == ("[::]:25",)),
        (
            "RELAY_LISTENERS__0__BIND",
            '["0.0.0.0:25", "[::]:25"]',
            lambda config: config.listeners[0].bind == ("0.0.0.0:25", "[::]:25"),
        ),
        (
            "RELAY_LISTENERS__0__ALLOW",
            '["10.0.0.0/8", "::1"]',
            lambda config: config.listeners[0].allow == ("10.0.0.0/8", "::1/128"),
        ),
        ("RELAY_CONNECT__REQUESTS_PER_SECOND", "8", lambda config: config.connect.requests_per_second == 8.0),
        (
            "RELAY_LIMITS__MESSAGES_PER_MINUTE",
            "1_000",
            lambda config: config.limits.messages_per_minute == 1000,
        ),
        ("RELAY_ROUTES__0__PREFER_REPLY_TO", "true", lambda config: config.routes[0].prefer_reply_to),
        (
            "RELAY_ROUTES__0__ATTRIBUTES__DESK",
            "7",
            lambda config: config.routes[0].attributes == {"desk": "7"},
        ),
        (
            "RELAY_ROUTES__0__ON",
            '{ auto-reply = "hold" }',
            lambda config: config.routes[0].on == {"auto-reply": "hold"},
        ),
        ("RELAY_ROUTES__1__MATCH", '["@example.org"]', lambda config: len(config.routes) == 2),
        (
            "RELAY_LISTENERS",
            '[{ bind = "127.0.0.1:2525" }, { bind = "127.0.0.1:2526" }]',
            lambda config: len(config.listeners) == 2,
        ),
        (
            "RELAY_ROUTES__0",
            '{ match = ["@example.org"] }',
            lambda config: [route.name for route in config.routes] == ["@example.org"],
        ),
        ("RELAY_ADMIN__BIND", "", lambda config: config.admin.bind == ()),
        ("RELAY_LOG__LEVEL", "debug", lambda config: config.log.level == "debug"),
        ("RELAY_TLS__CLIENT_CA", "/ca.pem", lambda config: config.tls.client_ca == Path("/ca.pem")),
    ],
)
def test_key_comes_from_the_environment(minimal, name, text, read):
    """A variable sets its key, read by the key's own type."""
    assert read(load_config(minimal, environ={name: text}))


def test_environment_goes_before_the_file():
    """A variable replaces what the file says."""
    config = load_config(str(SAMPLE), environ={"RELAY_S3__BUCKET": "other-mail"})
    assert config.s3.bucket == "other-mail"


#: The least that a configuration says, as variables.
ALONE = {
    "RELAY_S3__BUCKET": "example-mail",
    "RELAY_CONNECT__INSTANCE_ID": "12345678-90ab-cdef-1234-567890abcdef",
    "RELAY_ROUTES__0__MATCH": '["support@example.com"]',
}


@pytest.fixture
def no_default(monkeypatch, tmp_path):
    """A machine without /etc/relay/relay.toml; gives the path in its place."""
    path = tmp_path / "default.toml"
    monkeypatch.setattr("relay.config.load.DEFAULT_PATH", str(path))
    return path


def test_environment_needs_no_file(no_default):
    """Where nobody names a file and the default one is not there, the variables are the configuration."""
    config = load_config(None, environ=ALONE)
    assert config.s3.bucket == "example-mail"
    assert config.routes[0].name == "support@example.com"


def test_environment_that_is_not_enough_names_the_missing_file(no_default):
    """Somebody whose file was lost, and whose environment has a key or two, hears of the file."""
    with pytest.raises(ConfigError) as caught:
        load_config(None, environ={"RELAY_S3__BUCKET": "example-mail"})
    *keys, last = caught.value.sentences
    assert any(sentence.startswith("routes") for sentence in keys)
    assert last.startswith(f"{no_default}: there is no such file; name one by --config")


@pytest.mark.parametrize("environ", [{}, {"RELAY_SMTP_SERVICE_HOST": "10.0.0.1"}])
def test_environment_without_a_key_is_no_configuration(no_default, environ):
    """Variables of Kubernetes alone set no key: the missing file is the one mistake."""
    with pytest.raises(ConfigError, match=r"\A.*there is no such file.*\Z") as caught:
        load_config(None, environ=environ)
    assert len(caught.value.sentences) == 1


def test_file_that_was_named_must_be_there(no_default, tmp_path):
    """A path that is wrong is a mistake, however much the environment says."""
    wrong = str(tmp_path / "wrong.toml")
    for path, environ in ((wrong, ALONE), (None, ALONE | {"RELAY_CONFIG": wrong})):
        with pytest.raises(ConfigError, match="there is no such file"):
            load_config(path, environ=environ)


def test_default_file_that_cannot_be_read_is_not_passed_over(no_default):
    """A link that leads nowhere at the default place is told, and not taken for no file."""
    no_default.symlink_to("nowhere")
    with pytest.raises(ConfigError, match="there is no such file"):
        load_config(None, environ=ALONE)


def test_environment_alone_can_be_enough(write):
    """An empty file and the environment make a configuration."""
    environ = {
        "RELAY_S3__BUCKET": "example-mail",
        "RELAY_CONNECT__INSTANCE_ID": INSTANCE,
        "RELAY_ROUTES__0__MATCH": '["@example.com"]',
        "RELAY_ROUTES__1__MATCH": '["@example.net"]',
        "RELAY_LISTENERS__0__BIND": "127.0.0.1:2525",
        "RELAY_LISTENERS__0__TLS": "none",
    }
    config = load_config(write(""), environ=environ)
    assert [route.name for route in config.routes] == ["@example.com", "@example.net"]
    assert config.listeners[0].tls == "none"


def test_lists_grow_in_the_order_of_their_numbers():
    """The tenth entry comes after the second, whatever the order of the alphabet."""
    data = {}
    _, sentences = lay_over(data, {f"RELAY_ROUTES__{n}__NAME": str(n) for n in range(12)})
    assert sentences == ()
    assert [route["name"] for route in data["routes"]] == [str(n) for n in range(12)]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("RELAY_S3__BUKET", 'RELAY_S3__BUKET = "x": no such key; did you mean "bucket"?'),
        ("RELAY_S3_BUCKET", 'RELAY_S3_BUCKET = "x": no such key; there are'),
        ("RELAY_CONNECT__BURST", 'RELAY_CONNECT__BURST = "x": must be a whole number'),
        ("RELAY_LISTENERS__4__BIND", "RELAY_LISTENERS__4__BIND: there are 0 before it; the next number is 0"),
        ("RELAY_HOSTNAME__FIRST", "RELAY_HOSTNAME__FIRST: no such key; levels are parted by two underscores"),
    ],
)
def test_wrong_variable_is_named(minimal, name, sentence):
    """A mistake that came from the environment is said of the variable, not of the file."""
    environ = {name: "x", "RELAY_HOSTNAME": "mx1.example.com"}
    assert [each for each in sentences_of(minimal, environ) if each.startswith(sentence)]


def test_variables_that_are_no_keys_are_left_alone(minimal):
    """Kubernetes Services named "relay" or "relay-…" put variables into every pod; they are no keys, as some
    of our own are not.
    """
    environ = {
        "RELAY_SERVICE_HOST": "10.0.0.1",
        "RELAY_SERVICE_PORT": "25",
        "RELAY_SERVICE_PORT_SMTP": "25",
        "RELAY_PORT": "tcp://10.0.0.1:25",
        "RELAY_PORT_25_TCP": "tcp://10.0.0.1:25",
        "RELAY_PORT_25_TCP_ADDR": "10.0.0.1",
        "RELAY_CONFIG": "/elsewhere",
        "RELAY_FAULT_POINT": "intake.synced",
    }
    assert load_config(minimal, environ=environ).s3.bucket == "example-mail"


@pytest.mark.parametrize(
    "service", ["relay", "relay-smtp", "relay-s3", "relay-admin", "relay-2-tls", "relay--x", "relay-port"]
)
def test_services_of_kubernetes_are_no_keys(minimal, service):
    """All variables that Kubernetes derives of a Service are passed over, whatever follows "relay-"."""
    stem = service.upper().replace("-", "_")
    url = "tcp://10.0.0.1:25"
    environ = {
        f"{stem}_SERVICE_HOST": "10.0.0.1",
        f"{stem}_SERVICE_PORT": "25",
        f"{stem}_SERVICE_PORT_SMTP": "25",
    }
    environ |= {f"{stem}_PORT": url, f"{stem}_PORT_25_TCP": url, f"{stem}_PORT_53_UDP": "udp://[fd00::1]:53"}
    for word in ("PROTO", "PORT", "ADDR"):
        environ[f"{stem}_PORT_25_TCP_{word}"] = "25"
    assert load_config(minimal, environ=environ).s3.bucket == "example-mail"


@pytest.mark.parametrize(
    ("name", "value"), [("RELAY_ADMIN__PORT", "8026"), ("RELAY_PORT", "25"), ("RELAY_S3_BUCKET", "x")]
)
def test_mistyped_key_is_not_taken_for_a_service(minimal, name, value):
    """What an operator means as a key is told as none, also where Kubernetes has a variable of that name."""
    assert sentences_of(minimal, {name: value})


@given(
    st.dictionaries(
        st.from_regex(r"RELAY_[A-Z0-9_]{0,30}", fullmatch=True)
        | st.sampled_from(["RELAY_S3", "RELAY_ROUTES"]),
        st.text(max_size=40),
        max_size=4,
    )
)
def test_any_environment_loads_or_is_refused_in_sentences(environ):
    """No variable, however odd, brings another error than ours."""
    with contextlib.suppress(ConfigError):
        load_config(str(SAMPLE), environ=environ)


# --- The sample


def uncommented(text):
    """The sample with the keys that have no default, and the tables that are not there at first,
    switched on.
    """
    return re.sub(r"^# (\w+ = |\[\[[\w.]+\]\]$)", r"\1", text, flags=re.MULTILINE)


def _path(prefix):
    return [0 if step == "[]" else step for step in re.findall(r"\w+|\[\]", prefix)]


def keys_of(data, prefix=""):
    """Every key that a parsed file gives, named as `all_keys` names them."""
    for name, value in data.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for entry in value:
                yield from keys_of(entry, f"{prefix}{name}[].")
        elif isinstance(value, dict) and names_at((*_path(prefix), name)):
            yield from keys_of(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_sample_is_exactly_the_defaults():
    """config/relay.toml gives what a file without it would: nobody learns a default that is not one."""
    sample = load_config(str(SAMPLE), environ={"RELAY_HOSTNAME": "localhost"})
    assert sample == Config.model_validate(REQUIRED)


def test_sample_has_every_key():
    """Each key of the model stands in config/relay.toml once, those without a default behind a "#"."""
    named = keys_of(tomllib.loads(uncommented(SAMPLE.read_text())))
    assert sorted(named) == sorted(key.name for key in all_keys())


def test_sample_explains_every_key():
    """Each key, or the block of keys it stands in, has a comment above it."""
    lines = SAMPLE.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"(# )?\w+ = ", line):
            above = number - 1
            while re.match(r"(# )?\w+ = ", lines[above]):
                above -= 1
            assert lines[above].startswith("# "), f"line {number + 1}: {line}"


# --- The built-in configuration


def test_builtin_routes_take_the_addresses_of_the_sandbox():
    """The built-in routes send support, sales and everyone else of example.com each to itself."""
    table = RouteTable(builtin_config())
    wanted = {
        "support@example.com": "support@example.com",
        "support+vip@example.com": "support@example.com",
        "sales@example.com": "sales@example.com",
        "someone.else@example.com": "someone.else@example.com",
    }
    assert {path: table.match(path).address for path in wanted} == wanted
    assert table.match("support@example.org") is None


def test_builtin_takes_overrides():
    """An override of a table is laid over it; a list or a value replaces."""
    config = builtin_config(s3={"prefix": "x/"}, listeners=[{"bind": "127.0.0.1:0", "tls": "none"}])
    assert (config.s3.bucket, config.s3.prefix) == ("relay-sandbox", "x/")
    assert [listener.bind for listener in config.listeners] == [("127.0.0.1:0",)]
    with pytest.raises(ValidationError, match="is no bucket name"):
        builtin_config(s3={"bucket": "No"})


def test_type_at_knows_only_keys():
    """A path that leads nowhere has no type."""
    assert type_at(("s3", "bucket")) is str
    assert type_at(("routes", 0, "attributes", "desk")) is str
    assert type_at(("s3", "nope")) is None
    assert type_at(("hostname", "x")) is None


def test_data_dir_that_cannot_be_made():
    """A directory that its file system will not have is named, with its value, before anything starts."""
    with pytest.raises(ConfigError, match=r'data_dir = "/proc/relay": cannot be made'):
        make_data_dir(Path("/proc/relay"))


def test_data_dir_is_made_for_us_alone(tmp_path):
    """A missing directory is made with its parents, and nobody else may look into it."""
    make_data_dir(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    make_data_dir(tmp_path / "a" / "b")


def test_an_instance_in_the_region_of_the_environment_shares_its_quota(write):
    """An instance that names the Region of the environment must have the rate of those that name none; in
    another Region it may have its own.
    """
    text = (
        f'[s3]\nbucket = "example-mail"\n[connect]\ninstance_id = "{INSTANCE}"\n'
        '[connect.instances."11111111-2222-3333-4444-555555555555"]\nregion = "us-west-2"\nburst = 9\n'
        '[[routes]]\nmatch = ["support@example.com"]\n'
    )
    (sentence,) = sentences_of(write(text), {"AWS_REGION": "us-west-2"})
    assert "burst 9" in sentence
    assert "give both the same" in sentence
    assert not load_config(write(text), environ={"AWS_REGION": "eu-central-1"}).torn_quotas(UNKNOWN_HOME)


def test_captures_stay_out_of_the_names_of_our_attributes():
    """An empty prefix leaves the names of our attributes alone, and no other."""

    def read(prefix, name):
        capture = {"from": "subject", "pattern": f"(?P<{name}>x)"}
        return Contact.model_validate({"attribute_prefix": prefix, "captures": [capture]})

    def sentences(contact):
        return list(unknown_fields("contact", contact, captured_names(contact), contact))

    assert [bool(sentences(read("", name))) for name in ("order", "peer")] == [False, True]
    assert [bool(sentences(read("cmr_", name))) for name in ("relay_x", "cmr_x")] == [False, True]


@pytest.mark.parametrize("turned", [False, True])
def test_an_instance_is_one_by_its_id_and_by_its_arn(turned):
    """A table of an instance serves routes that write the other of its two names, whatever the case."""
    bare = "11111111-2222-3333-4444-abcdefabcdef"
    names = [bare.upper(), f"arn:aws:connect:eu-central-1:123456789012:instance/{bare}"]
    table, written = reversed(names) if turned else names
    instances = {table: {"region": "eu-central-1", "burst": 3, "s3": {"prefix": "other/"}}}
    connect = {"instance_id": "00000000-0000-0000-0000-000000000000", "instances": instances}
    routes = [{"match": ["a@example.com"], "instance_id": written}]
    config = Config.model_validate({"s3": {"bucket": "example-mail"}, "connect": connect, "routes": routes})
    own = config.of_instance(written)
    assert (own.connect.burst, own.s3.prefix) == (3, "other/")
    assert config.connect.find(written).region == "eu-central-1"
    assert config.of_instance(config.connect.instance_id) is config
