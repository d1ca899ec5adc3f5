"""A random hand of MANO, written as the makers' Python 2 writes it, and its vertices by another way."""

import io
import pickle
import struct
from typing import ClassVar

import numpy as np
from scipy.spatial.transform import Rotation

PARENTS = [2**32 - 1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]
VERTICES = 778


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays of a model: a small cloud of vertices around the origin, joints among them."""
    noise = np.random.default_rng(seed)
    regressor = np.zeros((16, VERTICES))
    regressor[np.arange(16)[:, None], noise.integers(0, VERTICES, (16, 5))] = 0.2
    weights = noise.random((VERTICES, 16)) ** 4
    return {
        "v_template": noise.normal(0, 0.05, (VERTICES, 3)),
        "shapedirs": noise.normal(0, 0.005, (VERTICES, 3, 10)),
        "posedirs": noise.normal(0, 0.001, (VERTICES, 3, 135)),
        "J_regressor": regressor,
        "weights": weights / weights.sum(axis=1, keepdims=True),
        "hands_mean": noise.normal(0, 0.2, 45),
    }


def joints_and_vertices(made, turn, pose, move, shape) -> tuple[np.ndarray, np.ndarray]:
    """Of one frame, as smplx computes them: homogeneous transforms of all vertices, taken back from the rest pose."""
    template = made["v_template"] + made["shapedirs"] @ shape
    rest = made["J_regressor"] @ template
    turns = Rotation.from_rotvec(np.concatenate([turn, pose + made["hands_mean"]]).reshape(16, 3)).as_matrix()
    posed = template + (made["posedirs"] @ (turns[1:] - np.eye(3)).ravel())
    chain = []
    for joint in range(16):
        step = np.eye(4)
        step[:3, :3] = turns[joint]
        step[:3, 3] = rest[joint] - (rest[PARENTS[joint]] if joint else 0)
        chain.append(chain[PARENTS[joint]] @ step if joint else step)
    back = np.tile(np.eye(4), (16, 1, 1))
    back[:, :3, 3] = -rest
    blended = np.einsum("vj,jab->vab", made["weights"], np.stack(chain) @ back)
    homogeneous = np.concatenate([posed, np.ones((VERTICES, 1))], axis=1)
    vertices = np.einsum("vab,vb->va", blended, homogeneous)[:, :3]
    return np.stack(chain)[:, :3, 3] + move, vertices + move


class _Python2(pickle._Pickler):
    """Writes texts and bytes alike, as Python 2 did, and names classes of packages that are not there."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_text(self, found):
        data = found if isinstance(found, bytes) else found.encode("latin1")
        self.write(b"T" + struct.pack("<i", len(data)) + data)
        self.memoize(found)

    def save_kind(self, found):
        if found.__module__.split(".")[0] in ("chumpy", "scipy"):
            self.write(f"c{found.__module__}\n{found.__name__}\n".encode())
            self.memoize(found)
        else:
            self.save_global(found)

    dispatch[bytes] = dispatch[str] = save_text
    dispatch[type] = save_kind


def write(path, made: dict[str, np.ndarray]) -> None:
    """A file such as MANO_RIGHT.pkl: chumpy's arrays and choices, a sparse matrix by columns, protocol 2."""
    modules = {"Ch": "chumpy.ch", "Select": "chumpy.reordering", "csc_matrix": "scipy.sparse.csc"}
    kinds = {name: type(name, (), {"__module__": module}) for name, module in modules.items()}

    def of(name, **state):
        found = kinds[name]()
        vars(found).update(state)
        return found

    shapes, regressor = made["shapedirs"], made["J_regressor"]
    beyond = np.concatenate([shapes, np.full((VERTICES, 3, 2), 9.0)], axis=2)  # a choice of a larger array
    places = np.arange(beyond.size).reshape(beyond.shape)[:, :, :10].ravel()
    columns = [np.flatnonzero(regressor[:, vertex]) for vertex in range(VERTICES)]
    content = {
        "v_template": of("Ch", x=made["v_template"]),
        "shapedirs": of("Select", a=of("Ch", x=beyond), idxs=places, preferred_shape=shapes.shape),
        "posedirs": made["posedirs"],
        "J_regressor": of(
            "csc_matrix",
            _shape=regressor.shape,
            data=np.concatenate([regressor[rows, vertex] for vertex, rows in enumerate(columns)]),
            indices=np.concatenate(columns).astype(np.int32),
            indptr=np.cumsum([0, *map(len, columns)]).astype(np.int32),
        ),
        "weights": made["weights"],
        "kintree_table": np.array([PARENTS, range(16)], dtype=np.uint32),
        "hands_mean": made["hands_mean"],
        "bs_type": "lrotmin",
    }
    file = io.BytesIO()
    _Python2(file, protocol=2).dump(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.getvalue())
