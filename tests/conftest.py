"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# No test asserts a time of the wall clock: a busy machine is no fault.
settings.register_profile("dcu", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dcu")
