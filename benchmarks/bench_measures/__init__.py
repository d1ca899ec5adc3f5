"""What is measured of a completed case of a canvas bench."""
