"""Faces: detection, tracking, OpenFace, geometry."""
