"""What a run leaves behind: a folder that explains itself."""
