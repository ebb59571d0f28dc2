"""Statistical multiplexing: models that are split over devices share each other's bursts."""
