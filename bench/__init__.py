"""Speed and memory, side by side in one run: `make bench`, or `python -m bench.smtp` and its like for one of them."""
