# Copyright (c) mmhkt authors. All rights reserved.
"""``mmhkt test``, where OpenMMLab's users expect it."""
import sys

from mmhkt.cli.test import main

if __name__ == '__main__':
    sys.exit(main())
