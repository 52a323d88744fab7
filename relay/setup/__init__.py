"""The first configuration of a relay: what `relay init` asks, the files it writes, and the advice it prints.

Owns the texts. Never asks, prints or writes by itself: the command does.
"""
