"""What holds for every test.

Belongs here: settings of the test tools. Does not belong here: fixtures of one package.
"""

from hypothesis import settings

# no test is about time: these machines may be busy, and a slow example is not a wrong one
settings.register_profile("barloom", deadline=None)
settings.load_profile("barloom")
