"""Making a task's data ready before anything is started."""

import os
from typing import TYPE_CHECKING

from longhaul.errors import RequestError

if TYPE_CHECKING:
    from longhaul.spec.search_spec import SearchSpec


def prepare_data(spec: "SearchSpec") -> None:
    """Finds and converts the files of a space's task on this machine.

    Trials then only map what is there. ``LONGHAUL_DATA`` becomes absolute, since the processes
    that train start in folders of their own.

    Raises:
        RequestError: a file is missing or cannot be used.
    """
    # imported here: torch takes seconds
    from longhaul_trainers.catalogue import TASKS
    from longhaul_trainers.data.folders import VARIABLE, data_folder
    from longhaul_trainers.errors import DataError
    from longhaul_trainers.settings import parse_component

    folder = data_folder()
    if folder is not None:
        os.environ[VARIABLE] = str(folder)
    settings = parse_component(TASKS, spec.tree["task"], "task")
    try:
        TASKS.get(settings.name)(settings).prepare()
    except DataError as error:
        raise RequestError(str(error)) from error
