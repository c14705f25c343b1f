"""The Lightning shell: modules, the engine that runs many tasks, and one run from config to table."""
