"""Reading and writing configuration files without a server. Programs import the module by this name."""

import os
from copy import deepcopy
from pathlib import Path
from typing import Any, Dict, Iterable, Optional, Union

from panoptes_utils.config import files
from panoptes_utils.error import InvalidConfig, NotFound
from panoptes_utils.files import folder_lock, write_durably
from panoptes_utils.logging import logger
from panoptes_utils.serializers import deserialize_all_objects, serialize_all_objects

PathLike = Union[str, Path]


def config_path(name: Optional[PathLike] = None) -> Path:
    """Where a configuration file is: `.yaml` may be left out, a relative name is in `$PANDIR/conf_files`.

    Args:
        name: a path or a name; default `$PANOPTES_CONFIG_FILE`, else `pocs`.
    """
    path = Path(name or os.environ.get("PANOPTES_CONFIG_FILE") or "pocs").expanduser()
    if path.suffix not in (".yaml", ".yml"):
        path = path.with_name(f"{path.name}.yaml")
    if path.is_absolute() or path.exists():
        return path.absolute()
    return Path(os.environ.get("PANDIR", "/var/panoptes")).absolute() / "conf_files" / path


def load_config(
    config_files: Optional[Union[PathLike, Iterable[PathLike]]] = None,
    parse: bool = True,
    load_local: bool = True,
) -> Dict[str, Any]:
    """The configuration in one or more files, each with its local file over it, merged level by level.

    Args:
        config_files: paths or names, later ones over earlier ones; see `config_path`.
        parse: quantities for texts such as `45 deg`, and absolute `directories`.
        load_local: also read `NAME_local.yaml` beside each file.

    Returns:
        The merged configuration. A file that is not YAML, or is not there and has no local file, is skipped with a
        warning.
    """
    names = [config_files] if config_files is None or isinstance(config_files, (str, Path)) else config_files
    config: Dict[str, Any] = {}
    for name in names:
        path = config_path(name)
        local = files.local_path(path)
        over = load_local and local != path
        # What `save_config` writes is the local file, also where there is none that it belongs to.
        if not over or path.exists() or not local.exists():
            try:
                config = files.merge(config, files.plain(files.read_yaml(path)))
            except InvalidConfig as error:
                logger.warning(f"skipped: {error.msg}")
                continue
        if over:
            tree, damage = files.read_local(local, repair=False)
            if damage:
                logger.warning(damage)
            config = files.merge(config, files.plain(tree))
    return parse_config(config) if parse else config


def save_config(save_path: PathLike, config: Dict[str, Any], overwrite: bool = True) -> bool:
    """Write the configuration as the local file that belongs to `save_path`, durably.

    Args:
        save_path: a configuration file; `pocs.yaml` means `pocs_local.yaml` beside it.
        config: what to write.
        overwrite: replace an existing local file.

    Returns:
        True.

    Raises:
        FileExistsError: the local file exists and `overwrite` is false.
        OSError: it could not be written; the old file is intact.
    """
    target = files.local_path(config_path(save_path))
    target.parent.mkdir(parents=True, exist_ok=True)
    data = files.dump_yaml(serialize_all_objects(deepcopy(config)))
    with folder_lock(target.parent):
        if target.exists() and not overwrite:
            raise FileExistsError(f"{target} exists and overwrite is not set")
        write_durably(target, data, most=files.MOST_LOCAL)
    return True


def parse_config(config: Dict[str, Any]) -> Dict[str, Any]:
    """The configuration (changed in place) with quantities, datetimes and absolute `directories`."""
    if isinstance(config.get("directories"), dict):
        config["directories"] = parse_config_directories(config["directories"])
    return deserialize_all_objects(config)


def parse_config_directories(directories: Dict[str, str], must_exist: bool = False) -> Dict[str, str]:
    """The `directories` section with every path absolute.

    Args:
        directories: names and paths. `base` is the one that the others are relative to; a relative `base` is below
            `$PANDIR`, and where there is none it is `$PANDIR` itself, or the working directory without that.
        must_exist: refuse a path that does not exist.

    Returns:
        A new mapping that has `base` too.

    Raises:
        NotFound: `must_exist` and a path does not exist.
    """
    root = Path(os.environ.get("PANDIR") or Path.cwd())
    base = root / str(directories.get("base") or "")
    absolute = {"base": str(base)}
    for name, path in directories.items():
        if isinstance(path, str) and name != "base":
            absolute[name] = str(base / path)
        elif name != "base":
            absolute[name] = path
    for name, path in absolute.items():
        if must_exist and not Path(str(path)).exists():
            raise NotFound(f"directories.{name}: {path} does not exist")
    return absolute
