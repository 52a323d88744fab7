"""The sandbox: the real daemon, pointed at an S3 and a Connect of its own on loopback.

`service` holds them together, `s3` and `connect` are the two services, `web` the page and the JSON API, `daemon` the
daemon's process, `demo` the first thing a newcomer runs. Production never imports this package.
"""
