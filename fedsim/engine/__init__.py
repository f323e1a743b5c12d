"""One round, and who carries it."""
