"""Pictures in motion: photographs and drawn textures under a moving camera, with what moves over them."""
