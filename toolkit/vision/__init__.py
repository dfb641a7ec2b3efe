"""Faces: detection, tracking, OpenFace, geometry."""

from fmltk.toolkit.vision.openface import OpenFaceTable, read_openface

__all__ = ["OpenFaceTable", "read_openface"]
