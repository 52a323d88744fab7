"""Alarms: which states of the queue a person is told of, and the sending of it."""
