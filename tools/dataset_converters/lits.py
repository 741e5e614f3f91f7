# Copyright (c) mmhkt authors. All rights reserved.
"""``mmhkt prepare lits``, where OpenMMLab's users expect it."""
import sys

from mmhkt.cli.prepare_lits import main

if __name__ == '__main__':
    sys.exit(main())
