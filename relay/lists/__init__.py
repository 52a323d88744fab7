"""Lists of senders: which of the operator's lists an address of a mail is on (docs/lists.md)."""
