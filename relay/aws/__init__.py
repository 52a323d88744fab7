"""The edge to AWS: clients, S3, Connect, and the translation of their errors into ours."""
