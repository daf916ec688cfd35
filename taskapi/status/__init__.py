"""The routes about the service itself: welcome, health, readiness."""
