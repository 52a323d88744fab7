"""Alarms: the states of the queue that a person is told of, and the sending of them."""
