"""Attacks made for Romoa by someone who has read how it works, and what they do to it."""
