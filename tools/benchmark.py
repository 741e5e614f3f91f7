# Copyright (c) mmhkt authors. All rights reserved.
"""``mmhkt benchmark``, where OpenMMLab's users expect it."""
import sys

from mmhkt.cli.benchmark import main

if __name__ == '__main__':
    sys.exit(main())
