"""The page: every mail of the spool for a person at a browser, in the sandbox and over the real queue."""
