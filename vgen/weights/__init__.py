"""The models that come with the package, each a diffusers folder."""

from vgen import moved

__getattr__ = moved.names_in(__name__, "vgen.models")
