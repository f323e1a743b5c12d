"""Every defense under one attack: what is left of the accuracy."""
