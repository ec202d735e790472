"""Variable lengths: how the timesteps of the source become timesteps of the target."""
