"""Malicious clients: attacks, and the adversary that decides who strikes, when and how stealthily."""

from fedsim.tables import Table

ATTACKS = Table(
    "attack",
    {
        "none": "clients.none:NoAttack",
        "random": "clients.random_noise:RandomNoise",
        "sign_flip": "clients.sign_flip:SignFlip",
        "label_flip": "clients.label_flip:LabelFlip",
        "ipm": "clients.ipm:InnerProductManipulation",
        "alie": "clients.alie:ALittleIsEnough",
    },
)
"""Every attack by its name in a configuration: one file, one line here, one test."""
