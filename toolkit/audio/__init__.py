"""Acoustic features."""
