"""The configuration read: the file, the environment over it, and the files it names.

Owns where the file is, and every look at the disk on its behalf. Never decides what is right: the model does.
Everything that is wrong is reported at once; only rules between keys wait until each key is right by itself.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import tomllib
from codecs import BOM_UTF8
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from relay.config.connect import Quota
from relay.config.environment import CONFIG, lay_over, sets_keys
from relay.config.handlers import load_handler
from relay.config.included import Inclusion, Loaded, find_included, load_remembered, read_patterns
from relay.config.lists import ListSource
from relay.config.model import Config
from relay.config.sentences import build_sentences, show
from relay.config.words import check_hostname
from relay.errors import ConfigError

#: The packages that export spans.
_OTEL_PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
#: Some editors write it in front of UTF-8, where it would be part of the first word.
_MARKED = "begins with a byte order mark (BOM); save it as UTF-8 without one"
DEFAULT_PATH = "/etc/relay/relay.toml"
_NONE: Mapping[tuple[str | int, ...], str] = MappingProxyType({})


def find_config(path: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """The path that was asked for, else `$RELAY_CONFIG`, else /etc/relay/relay.toml."""
    return path or environ.get(CONFIG) or DEFAULT_PATH


def is_of_environment(path: str | None, environ: Mapping[str, str] = os.environ) -> bool:
    """Returns whether the environment alone is the configuration: it sets keys, nobody has named a file, and
    the default one is not there.
    """
    named = path or environ.get(CONFIG)
    return not named and sets_keys(environ) and not os.path.lexists(DEFAULT_PATH)


def load_config(path: str | None, *, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration of this daemon: a file with the environment over it, or the environment alone.

    Raises:
        ConfigError: one sentence for each mistake.
    """
    return load_all(path, environ=environ).config


def load_all(
    path: str | None,
    *,
    environ: Mapping[str, str] = os.environ,
    remembered: Mapping[str, str] | None = None,
    checked: bool = False,
) -> Loaded:
    """The configuration of this daemon, and what of its included files is in force.

    A broken one of those is left at its version of `remembered`, or of `data_dir/included.json`. If
    `checked`, one whose lists cannot be read is broken, too.

    Raises:
        ConfigError: one sentence for each mistake.
    """
    alone = is_of_environment(path, environ)
    main = find_config(path, environ)
    data = {} if alone else _parse(main, _read(main))[1]
    origins, sentences = lay_over(data, environ)

    def make(values: dict[str, Any]) -> Config:
        return _make(values, origins, sentences, environ)

    try:
        if not (patterns := read_patterns(data)):
            return Loaded(config=make(data), texts={})
        if "hostname" not in data:  # asked once, however often the files are joined
            data["hostname"], wrong = _own_name()
            sentences += wrong
        inclusion = Inclusion(
            data, main=main, parse=_parse, make=make, check=_check_lists if checked else lambda _: ()
        )
        paths = find_included(patterns, os.path.dirname(os.path.abspath(main)))  # noqa: PTH100, PTH120 - links stay
        if remembered is None:
            remembered = load_remembered(Path(data.get("data_dir", Config.model_fields["data_dir"].default)))
        return inclusion.load(paths, remembered)
    except ConfigError as exc:
        if alone:  # perhaps the file was lost, and only a few keys stand in the environment
            raise ConfigError(*exc.sentences, _say_missing(DEFAULT_PATH)) from None
        raise


def _make(
    data: dict[str, Any],
    origins: Mapping[tuple[str | int, ...], str],
    sentences: tuple[str, ...],
    environ: Mapping[str, str],
) -> Config:
    config = read_values(data, origins, sentences)
    # The Region of a profile is known to botocore alone: `relay check` and the pace look at it.
    region = environ.get("AWS_DEFAULT_REGION") or environ.get("AWS_REGION") or ""
    if torn := config.torn_quotas(Quota(account="", region=region)):
        raise ConfigError(*torn)
    return config


def read_values(
    data: dict[str, Any],
    origins: Mapping[tuple[str | int, ...], str] = _NONE,
    sentences: tuple[str, ...] = (),
) -> Config:
    """The configuration that the values of a file make; `origins` are the variables that some came from, and
    `sentences` mistakes that were found before.

    Raises:
        ConfigError: one sentence for each mistake.
    """
    # A table left out is only its keys left out: the sentence then names the key.
    data.setdefault("s3", {})
    data.setdefault("connect", {})
    if "hostname" not in data:
        data["hostname"], wrong = _own_name()
        sentences += wrong
    try:
        config = Config.model_validate(data)
    except ValidationError as exc:
        sentences += build_sentences(exc, origins)
    if sentences:
        raise ConfigError(*sentences)
    return config


def _own_name() -> tuple[str, tuple[str, ...]]:
    """The name of this machine. Returns a sentence beside it when that name cannot stand in a banner."""
    name = socket.getfqdn()
    try:
        return check_hostname(name), ()
    except ValueError:
        right = 'which is no host name; write one, as in hostname = "mx1.example.com"'
        return "localhost", (f"hostname: this machine calls itself {show(name)}, {right}",)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise ConfigError(_say_missing(path)) from None
    except OSError as exc:
        raise ConfigError(
            f"{path}: cannot be read ({exc.strerror}); make it readable for the user relay runs as"
        ) from None


def _parse(path: str, octets: bytes) -> tuple[str, dict[str, Any]]:
    """The text of a file, and its values."""
    try:
        text = octets.decode()
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: byte {exc.start} is not UTF-8; TOML is written in UTF-8") from None
    if octets.startswith(BOM_UTF8):
        raise ConfigError(f"{path}: {_MARKED}")
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}, {_say_syntax(str(exc), text)}") from None


def _say_missing(path: str) -> str:
    """The sentence for a file that is not there."""
    return f"{path}: there is no such file; name one by --config or ${CONFIG} (config/relay.toml is a start)"


def _say_syntax(message: str, text: str) -> str:
    """The sentence for text that is no TOML: where, and why. `message` ends in "(at line 4, column 9)" or
    "(at end of document)".
    """
    what, _, where = message.rpartition(" (at ")
    where = where.rstrip(")").replace("end of document", f"line {text.count(chr(10)) + 1}, the end")
    if what.startswith(("Cannot overwrite", "Cannot declare")):
        return f"{where}: this was said before; say it once"
    return f"{where}: {what}; this is no TOML: one key = value a line, text in quotes"


def check_files(config: Config) -> tuple[str, ...]:
    """The mistakes in the files, directories and handlers that a configuration names, one sentence each.
    Returns none when all are fit for use.
    """
    return (
        *_check_tls(config),
        *_check_users(config),
        *_check_lists(config.lists),
        *_check_data_dir(config.data_dir),
        *_check_hooks(config),
        *_check_otel(config),
    )


def _unreadable(key: str, path: Path, *, marked: bool = False) -> str:
    """The sentence for a file that cannot be read, or that begins with a mark which its reader does not take
    (`marked`: it does). Returns the empty string for any other.
    """
    name = f"{key} = {show(str(path))}"
    try:
        with path.open("rb") as file:
            beginning = file.read(len(BOM_UTF8))
    except OSError as exc:
        return f"{name}: cannot be read ({exc.strerror}); give a file that relay's user may read"
    return f"{name}: {_MARKED}" if beginning == BOM_UTF8 and not marked else ""


def _check_tls(config: Config) -> tuple[str, ...]:
    tls = config.tls
    pairs = {"tls": (tls.certificate, tls.key)} if tls.certificate and tls.key else {}
    pairs |= {f"tls.more[{index}]": (pair.certificate, pair.key) for index, pair in enumerate(tls.more)}
    named = {"tls.client_ca": tls.client_ca}
    for table, (certificate, key) in pairs.items():
        named |= {f"{table}.certificate": certificate, f"{table}.key": key}
    sentences = [_unreadable(name, path) for name, path in named.items() if path]
    if not any(sentences):
        sentences = [wrong for table, pair in pairs.items() for wrong in _check_pair(table, *pair)]
    if tls.ciphers:
        sentences += [_check_ciphers(tls.ciphers)]
    if not any(sentences) and tls.client_ca:
        sentences = [_holds(tls.client_ca, "tls.client_ca", "CERTIFICATE")]
    return tuple(filter(None, sentences))


def _check_ciphers(ciphers: str) -> str:
    """The sentence for a list of ciphers that OpenSSL cannot read, or the empty string."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ciphers(ciphers)
    except ssl.SSLError:
        return f'tls.ciphers = {show(ciphers)}: names no cipher; write a list as OpenSSL has it, such as "ECDHE+AESGCM"'
    return ""


def _check_pair(table: str, certificate: Path, key: Path) -> list[str]:
    """The sentences for a certificate and key that do not serve together."""
    sentences = [
        _holds(certificate, f"{table}.certificate", "CERTIFICATE"),
        _holds(key, f"{table}.key", "PRIVATE KEY"),
    ]
    if any(sentences):
        return sentences
    name = f"{table}.key = {show(str(key))}"
    if b"ENCRYPTED" in key.read_bytes():
        return [f"{name}: has a passphrase, and nobody is there to type it; give the key without one"]
    try:
        # Without an answer of ours OpenSSL would ask the terminal for a passphrase.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as exc:
        if exc.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            return [
                f"{name}: is not the key of {certificate}; give the key that the certificate was made for"
            ]
        return [f"{name}: cannot be loaded with {certificate}, one of them is damaged; give both files whole"]
    return []


def _holds(path: Path, key: str, kind: str) -> str:
    """The sentence for a file without this kind of PEM in it, or the empty string."""
    if re.search(rf"-----BEGIN [A-Z ]*{kind}-----", path.read_bytes().decode("latin-1")):
        return ""
    return (
        f'{key} = {show(str(path))}: holds no {kind.lower()}; give a PEM file with "-----BEGIN {kind}-----"'
    )


def _check_users(config: Config) -> tuple[str, ...]:
    """The mistakes in the users files that are asked."""
    files = {"server.users_file": config.server.users_file}
    if config.web.bind and config.web.auth != "proxy":
        files["web.users_file"] = config.web.users_file
    return tuple(wrong for key, path in files.items() if path for wrong in _check_users_file(key, path))


def _check_users_file(key: str, path: Path) -> tuple[str, ...]:
    """The mistakes in a users file, one `login:$argon2...` a line, as `relay.logins.users` reads it; empty
    lines and # are passed over.
    """
    if sentence := _unreadable(key, path):
        return (sentence,)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    wrong = [
        number
        for number, line in enumerate(lines, 1)
        if line.strip() and not re.match(r"\s*(#|[^:\s]+:\s*\$argon2)", line)
    ]
    return tuple(
        f"{key} = {show(str(path))}: line {number} is no login and hash; "
        'write "login:$argon2id$...", the hash as argon2 prints it'
        for number in wrong
    )


def _check_lists(lists: Mapping[str, ListSource]) -> tuple[str, ...]:
    """The mistakes in the files of lists that keep a start from reading them; a wrong line is none."""
    files = {f"lists.{name}.file": source.file for name, source in lists.items()}
    return tuple(
        wrong for key, path in files.items() if path and (wrong := _unreadable(key, path, marked=True))
    )


def _check_hooks(config: Config) -> tuple[str, ...]:
    """The mistakes in the handlers: each is imported and made once, as a receiver does."""
    sentences = []
    for index, hook in enumerate(config.hooks):
        try:
            load_handler(hook.handler)
        except ValueError as exc:
            sentences.append(f"hooks[{index}].handler = {show(hook.handler)}: {exc}")
    return tuple(sentences)


def _check_otel(config: Config) -> tuple[str, ...]:
    """The mistake of spans without the libraries that export them."""
    if not config.otel.spans:
        return ()
    try:
        missing = [name for name in _OTEL_PACKAGES if find_spec(name) is None]
    except ModuleNotFoundError as exc:  # a package above it
        missing = [str(exc.name)]
    return tuple(
        f"otel.spans = true: needs {name}; install the extra [otel] (requirements-otel.lock), or set it to false"
        for name in missing[:1]
    )


def make_data_dir(data_dir: Path) -> None:
    """Make the directory of the spool where it is missing, readable by its owner alone, and bring its name to
    the disk: a spool in a directory that a power cut takes away is lost with its mail.

    Raises:
        ConfigError: it cannot be made; some file systems say so only when they are asked to.
    """
    try:
        missing = [folder for folder in (data_dir, *data_dir.parents) if not folder.exists()]
        os.makedirs(data_dir, mode=0o700, exist_ok=True)  # noqa: PTH103 - Path.mkdir recurses for ever under /proc
        for folder in missing:
            _sync_folder(folder.parent)
    except OSError as exc:
        raise ConfigError(
            f"data_dir = {show(str(data_dir))}: cannot be made ({exc.strerror}); name a directory for the spool"
        ) from None


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check_data_dir(data_dir: Path) -> tuple[str, ...]:
    """The mistakes in the data directory: it must be one that we may write to, or one that we may make."""
    name = f"data_dir = {show(str(data_dir))}"
    nearest = data_dir
    try:
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
    except OSError as exc:
        why = exc.strerror or exc
        return (
            f"{name}: cannot be reached ({why}); name a directory that the user relay runs as can get at",
        )
    if not nearest.is_dir():
        return (f"{name}: {nearest} is no directory; name one for the spool",)
    if not os.access(nearest, os.W_OK | os.X_OK):
        what = "is not writable" if nearest == data_dir else f"does not exist, and {nearest} is not writable"
        return (f"{name}: {what}; make it and give it to the user relay runs as",)
    return ()
