"""Lists of names in the attributes of Keras's HDF5 files."""

import h5py


def stored_names(group: h5py.Group, key: str) -> list[str]:
    """The list stored under `key`, where a long one is stored in parts: key0, key1, ..."""
    parts = [key] if key in group.attrs else []
    while f"{key}{len(parts)}" in group.attrs:
        parts.append(f"{key}{len(parts)}")
    values = [value for part in parts for value in group.attrs[part]]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]
