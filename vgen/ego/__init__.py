"""Front-end 2: what the camera wearer sees, a sentence and a trajectory make the video that follows."""
