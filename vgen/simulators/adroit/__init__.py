"""The Adroit hand of gymnasium-robotics."""
