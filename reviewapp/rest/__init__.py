"""What the APIs of all rooms share; knows no model."""
