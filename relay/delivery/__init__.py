"""The second half of a mail's way: the runner claims due entries, has each tried once, and records its
outcome.
"""
