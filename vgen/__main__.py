"""`python -m vgen`: the command `vgen`, where its script is not on the path, as under torchrun."""

from vgen.commands import run

if __name__ == "__main__":
    run()
