"""The spool that the nodes of a fleet share: raw mail in S3, all else in one table of DynamoDB."""
