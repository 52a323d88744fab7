"""Everything from which daemons and commands of tests are forked: their modules, exempt from each look for
garbage, and botocore's models of the services of their clients.
"""

from __future__ import annotations

import gc
import importlib

import botocore.session
from botocore.loaders import JSONFileLoader

for _name in (
    "relay.cli.check",
    "relay.cli.queue",
    "relay.cli.serve",
    "relay.cli.trace",
    "relay.daemon.supervisor",
    "relay.daemon.receiver",
    "relay.daemon.deliverer",
    "uvloop",
):
    importlib.import_module(_name)

_read = JSONFileLoader._load_file
_documents = {}


def _load_file(self, path, opening):
    """A file of botocore's, parsed once: clients share it within a session, too, and do not write into it."""
    document = _documents.get(path)
    if document is None and (document := _read(self, path, opening)) is not None:
        _documents[path] = document
    return document


JSONFileLoader._load_file = _load_file
for _name in ("connect", "s3", "sts", "sns"):
    botocore.session.Session().create_client(
        _name, "eu-central-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
gc.collect()
gc.freeze()
