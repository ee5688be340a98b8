"""What the tests share: programs under test, backends, clients, keys."""
