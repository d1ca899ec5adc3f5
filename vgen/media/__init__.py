"""Pixels in and out: images, video files by exact frames, patches, and where they are placed."""
