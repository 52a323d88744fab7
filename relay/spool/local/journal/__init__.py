"""The journal: accepted mail on the disk before SQLite learns of it. Nothing uses it yet (docs/spool.md)."""
