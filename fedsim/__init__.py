"""fedsim: a federated-learning simulator with adversarial clients."""

__version__ = "0.1.0"
