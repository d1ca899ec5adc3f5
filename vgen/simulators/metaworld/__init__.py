"""Meta-World's gripper."""
