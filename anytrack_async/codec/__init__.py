"""The two written forms of the models, and the only package that imports cattrs."""
