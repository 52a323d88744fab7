"""The names within `data_dir` of what is no part of the spool.

Owns these names alone: each room says what lies under its own, and the spool the names of its own files.
"""

from __future__ import annotations

#: The memory that receivers share to count together for `[limits]`; no mail is in it.
TALLY = "tally"
#: The folder of decoded files of mails under way. They have no name: what has one was left by a process that
#: died.
WORK = "work"
#: The folder of what peers were refused lately, by receiver, for `relay trace`.
REFUSALS = "refusals"
#: The settings that instances told of themselves, for the next start and for receivers (`connect.discover`).
INSTANCES = "instances.json"
#: The key of hashed addresses (`relay.spool.pseudonyms`), which is a secret.
ADDRESS_KEY = "address.key"
#: The folder of the receivers' sockets for transcripts of sessions (`relay tail`).
TAIL = "tail"
#: The last good version of each included file (`include`), for a start with a broken one.
INCLUDED = "included.json"
