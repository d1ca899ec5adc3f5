"""The models that come with the package, each a diffusers folder."""
