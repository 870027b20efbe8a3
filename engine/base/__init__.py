"""What every room stands on: errors, events, files, numbers, image sizes, tasks and the environment."""
