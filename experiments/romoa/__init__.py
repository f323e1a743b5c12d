"""Romoa (Mao et al., 2021): what its paper claims, tried out."""
