"""The second half of a mail's way: the runner claims due entries, has one attempt made for each, and records
the outcome.
"""
