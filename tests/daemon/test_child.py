"""The sentences of a child that cannot work: each names the file, or the folder, that is in the way."""

from __future__ import annotations

import pytest

from relay.config.builtin import builtin_config
from relay.daemon.child import name_spool
from relay.errors import SpoolError, SpoolFullError, SpoolSickError


@pytest.mark.parametrize("error", [SpoolFullError(), SpoolSickError("the spool is closed"), SpoolError("x")])
def test_sentence_of_a_child_names_the_folder(error):
    """A sentence without a file has at least the key and the folder of the spool."""
    config = builtin_config()
    assert name_spool(error, config).startswith(f'data_dir = "{config.data_dir}": ')
    assert str(error) in name_spool(error, config)


def test_sentence_of_a_child_names_a_file_once():
    """A file in the folder is name enough."""
    config = builtin_config()
    error = SpoolSickError(f"{config.data_dir}/spool/spool.db: IOError: disk I/O error")
    assert name_spool(error, config) == str(error)
