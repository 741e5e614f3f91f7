# Copyright (c) mmhkt authors. All rights reserved.
"""``mmhkt pair``, where OpenMMLab's users expect it."""
import sys

from mmhkt.cli.pair import main

if __name__ == '__main__':
    sys.exit(main())
