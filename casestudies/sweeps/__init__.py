"""Pages of sweeps: what comes out when one parameter varies."""
