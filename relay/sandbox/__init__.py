"""The sandbox: the real daemon, with an S3 and a Connect of its own on loopback.

`service` starts and holds them, `s3` and `connect` are the two services, `page` and `api` show what came,
`daemon` is the daemon's process, `demo` the first thing a newcomer runs. Production never imports this
package.
"""
