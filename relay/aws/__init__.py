"""The edge to AWS: clients, S3, Connect, and their errors turned into ours."""
