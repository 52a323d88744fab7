"""The sandbox: the real daemon on a local S3 and a simulated Connect that enforces the service's limits."""
