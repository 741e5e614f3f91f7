# Copyright (c) mmhkt authors. All rights reserved.
"""``mmhkt export``, where OpenMMLab's users expect it."""
import sys

from mmhkt.cli.export import main

if __name__ == '__main__':
    sys.exit(main())
