"""Logins: the files of those who may log in, and the order of tries of a password."""
