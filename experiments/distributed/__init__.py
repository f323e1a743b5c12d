"""A whole federation on one machine: a server, ten clients, two of them malicious, one killed on the way."""
