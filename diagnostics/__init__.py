"""Diagnoses why a pretrained model cannot be downloaded or loaded: ``pytest diagnostics``."""

__version__ = "0.1.0"
