"""Turning a message into a contact: the plan of what goes where, the attributes, and the request."""
