"""Arms: the controller that everything which moves an arm passes, drivers, and the simulated arm."""
