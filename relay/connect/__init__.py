"""Amazon Connect, from the outside: the client, and the service model that every request is held to."""
