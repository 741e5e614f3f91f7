_base_ = ['./_base.py', '../../_base_/recipes/adamw-1e-3-cosine.py']
