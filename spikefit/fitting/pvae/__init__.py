"""Fitting a Poisson VAE, and asking a fitted one."""
