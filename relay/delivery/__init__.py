"""The second half of a mail's way: due entries are claimed, tried, and their outcome is recorded."""
