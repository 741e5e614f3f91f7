# Copyright (c) mmhkt authors. All rights reserved.
from .checkpoint import (STRIP_MODULE, load_strictly, read_checkpoint,
                         weights_of)
from .names import few, nearest, one_of, type_name
from .random import private_randomness, seed_cpu, seed_everything

__all__ = [
    'STRIP_MODULE', 'few', 'load_strictly', 'nearest', 'one_of',
    'private_randomness', 'read_checkpoint', 'seed_cpu', 'seed_everything',
    'type_name', 'weights_of'
]
